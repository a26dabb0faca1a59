"""The token ledger: what came in, what was dropped and why, what was kept; sums are conserved.

One row per source and bucket. Buckets are "in", "kept", "dropped:REASON" and "changed:REASON"
(bytes or tokens removed from documents that stay: boilerplate, PII, truncation; may be negative
where a replacement is longer). For documents, tokens and bytes alike:

    in = kept + sum(dropped) + sum(changed)

`check` raises where that does not hold: nothing disappears silently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

UNITS = ("documents", "tokens", "bytes")


class Ledger:
    """Counts by source and bucket, in documents, tokens and bytes (a unit not counted stays 0)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(UNITS, 0)
        )

    def add(
        self, source: str, bucket: str, documents: int = 0, tokens: int = 0, bytes: int = 0
    ) -> None:
        """Count into one bucket of one source."""
        row = self.rows[source, bucket]
        row["documents"] += documents
        row["tokens"] += tokens
        row["bytes"] += bytes

    def total(self, bucket: str, unit: str = "documents") -> int:
        """Sum over sources of all buckets that begin with `bucket` ("dropped": every reason)."""
        return sum(
            row[unit]
            for (_, name), row in self.rows.items()
            if name.split(":")[0] == bucket or name == bucket
        )

    def reasons(self, unit: str = "documents") -> dict[str, int]:
        """Dropped by reason, over all sources, largest first."""
        out: dict[str, int] = defaultdict(int)
        for (_, bucket), row in self.rows.items():
            if bucket.startswith("dropped:"):
                out[bucket.removeprefix("dropped:")] += row[unit]
        return dict(sorted(out.items(), key=lambda item: -item[1]))

    def left_out(self, what: str) -> list[str]:
        """A note for the manifest where something was dropped, else nothing."""
        reasons = ", ".join(f"{name} {count:,}" for name, count in self.reasons().items())
        return [f"{what} left out: {reasons}"] if reasons else []

    def absorb_drops(self, reader: Ledger) -> None:
        """Take over what a reader left out before this ledger's rows were counted in."""
        for (source, bucket), row in list(reader.rows.items()):
            if bucket.startswith("dropped:"):
                for name in ("in", bucket):
                    self.add(source, name, **row)

    def merge(self, other: Ledger) -> None:
        """Add another ledger's counts."""
        for (source, bucket), row in other.rows.items():
            self.add(source, bucket, **row)

    def check(self) -> None:
        """Raise ValueError where a source's sums are not conserved."""
        for source in sorted({source for source, _ in self.rows}):
            for unit in UNITS:
                buckets = {b: row[unit] for (s, b), row in self.rows.items() if s == source}
                came, went = buckets.pop("in", 0), sum(buckets.values())
                if came != went:
                    raise ValueError(
                        f"ledger of {source!r}: {came:,} {unit} in, but kept + dropped + changed = "
                        f"{went:,}: {buckets}"
                    )

    def to_json(self) -> list[dict[str, Any]]:
        """Rows as they stand in a manifest: source, bucket, documents, tokens, bytes."""
        return [{"source": s, "bucket": b, **row} for (s, b), row in self.rows.items()]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, Any]]) -> Ledger:
        """The inverse of `to_json`."""
        ledger = cls()
        for row in rows:
            ledger.add(row["source"], row["bucket"], **{unit: row[unit] for unit in UNITS})
        return ledger

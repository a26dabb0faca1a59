"""The protocol for rows: what a reader yields, what must be said of it, and the counts.

A reader yields `Example`s: rows that carry their source, their place and their bytes. Whoever
consumes one says exactly one of

    ledger.keep(example, tokens=)            it is used
    ledger.drop(example, reason, tokens=)    it is not, and why

and beside that, where something was taken from it (boilerplate, PII, the end of a long row),
`ledger.change(example, reason, tokens=, bytes=)`. Each call counts "in" as well, so that for every
source, in documents, tokens and bytes alike,

    in = kept + sum(dropped) + sum(changed)        a change is negative where a text grew

The reader says `skip` of what it never yields (damage, rows that are not selected or useless) and
`expect` of what it does; an example of which nobody says anything, or two things, is what `check`
finds: nothing disappears silently.

Damage is a `DataError`: it stops the run unless the source says `on_error: skip`, when the row is
counted under the error's `reason`. `Drop` is a sound row that nobody can learn from (a tie, an
empty document): it is always counted and never stops anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

UNITS = ("documents", "tokens", "bytes")
REMEDY = "set `on_error: skip` on the source to drop and count such rows"

Row = dict[str, Any]


class Example(Row):
    """A row, and where it stands ("web.jsonl:17"); `{**example}` and `example | {}` are plain."""

    __slots__ = ("place",)

    def __init__(self, row: Row, place: str = "") -> None:
        """Copy the row; its "source" is the label that the ledger counts it under."""
        super().__init__(row)
        self.place = place

    @property
    def source(self) -> str:
        """The label of the source that it was read from."""
        return self["source"]

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of what it says."""
        return row_bytes(self)


class Counted(Protocol):
    """What the ledger asks of an example: its source, and its bytes as it now is."""

    @property
    def source(self) -> str:
        """The label it is counted under."""

    @property
    def bytes(self) -> int:
        """Its UTF-8 bytes."""


class DataError(ValueError):
    """One line: which file and row, what is wrong, what to do; `reason` is its ledger bucket."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        """Keep `reason` beside the message."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Drop:
    """A sound row that is left out, the one-word reason that the ledger counts, and a detail."""

    reason: str
    detail: str | None = None  # the document it copies, the test it holds


def row_bytes(row: Row) -> int:
    """UTF-8 bytes of what a row says: its text or html, its messages, or the sides of its pair.

    A row that is none of these (not adapted yet) weighs all its strings but `id` and `source`.
    """
    for key in ("text", "html", "messages"):
        if key in row:
            return _bytes(row[key])
    if "prompt" in row:
        return sum(_bytes(row[key]) for key in ("prompt", "chosen", "rejected") if key in row)
    return sum(_bytes(value) for key, value in row.items() if key not in ("id", "source"))


def _bytes(value: Any) -> int:
    """UTF-8 bytes of the strings in a value; of a message, only its content counts."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_bytes, value))
    if isinstance(value, dict):
        return _bytes(value["content"]) if "content" in value else sum(map(_bytes, value.values()))
    return 0


class Ledger:
    """Counts by source and bucket, in documents, tokens and bytes (a unit not counted stays 0).

    Buckets are "in", "kept", "dropped:REASON" and "changed:REASON".
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.rows: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(UNITS, 0)
        )
        self.awaited: Counter[str] = Counter()  # by source: examples yielded, and nothing said yet

    def expect(self, example: Counted) -> None:
        """A reader is about to yield it: `keep` or `drop` must follow."""
        self.awaited[example.source] += 1

    def split(self, example: Counted, parts: int) -> None:
        """An expected example is consumed as several: `keep` or `drop` must follow of each."""
        self.awaited[example.source] += parts - 1

    def skip(self, source: str, reason: str, documents: int = 1, bytes: int = 0) -> None:
        """A reader never yields these rows: unreadable, not selected, or useless."""
        for bucket in ("in", f"dropped:{reason}"):
            self.add(source, bucket, documents, bytes=bytes)

    def keep(self, example: Counted, tokens: int = 0) -> None:
        """It is used, with so many tokens, and with the bytes that it has."""
        self._settle(example, "kept", tokens)

    def drop(self, example: Counted, reason: str, tokens: int = 0) -> None:
        """It is not used, for a reason of one word."""
        self._settle(example, f"dropped:{reason}", tokens)

    def change(self, example: Counted, reason: str, tokens: int = 0, bytes: int = 0) -> None:
        """So much was taken from it; `keep` or `drop` then counts what is left of it."""
        for bucket in ("in", f"changed:{reason}"):
            self.add(example.source, bucket, 0, tokens, bytes)

    def _settle(self, example: Counted, bucket: str, tokens: int) -> None:
        source, size = example.source, example.bytes
        self.awaited[source] -= 1
        self.add(source, "in", 1, tokens, size)
        self.add(source, bucket, 1, tokens, size)

    def add(
        self, source: str, bucket: str, documents: int = 0, tokens: int = 0, bytes: int = 0
    ) -> None:
        """Count into one bucket of one source: `keep`, `drop` and `change` conserve the sums."""
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

    def reasons(self, unit: str = "documents", source: str | None = None) -> dict[str, int]:
        """Dropped by reason, of one source or of all, largest first."""
        out: dict[str, int] = defaultdict(int)
        for (label, bucket), row in self.rows.items():
            if bucket.startswith("dropped:") and source in (None, label):
                out[bucket.removeprefix("dropped:")] += row[unit]
        return dict(sorted(out.items(), key=lambda item: -item[1]))

    def left_out(self, what: str) -> list[str]:
        """A note for the manifest where something was dropped, else nothing."""
        reasons = ", ".join(f"{name} {count:,}" for name, count in self.reasons().items())
        return [f"{what} left out: {reasons}"] if reasons else []

    def merge(self, other: Ledger) -> None:
        """Add another ledger's counts."""
        for (source, bucket), row in other.rows.items():
            self.add(source, bucket, **row)
        for source, count in other.awaited.items():
            self.awaited[source] += count

    def check(self) -> None:
        """Raise ValueError where something was not said, or said twice, or sums do not hold."""
        for source, count in sorted(self.awaited.items()):
            if count:
                wrong = "nothing was said of" if count > 0 else "more was said than was read, by"
                raise ValueError(
                    f"ledger of {source!r}: {wrong} {abs(count):,} examples; whoever reads one "
                    "says ledger.keep or ledger.drop of it, once"
                )
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

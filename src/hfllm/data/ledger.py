"""The ledger: counts, by source, of the examples read, kept, dropped and changed.

A reader yields `Example`s: dicts that carry their source, their place ("web.jsonl:17") and their
bytes. The code that consumes an example calls exactly one of

    ledger.keep(example, tokens=)            it is used
    ledger.drop(example, reason, tokens=)    it is not used, for this reason

and in addition, if something was removed from it (boilerplate, PII, the end of a long row),
`ledger.change(example, reason, tokens=, bytes=)`. Each call counts "in" as well, so that for every
source, in documents, tokens and bytes alike,

    in = kept + sum(dropped) + sum(changed)        a change is negative if a text grew

The reader calls `expect` for each example that it yields and `skip` for rows that it never yields
(unreadable, not selected, nothing to learn from), and `note` for what nobody reads of a row. Every
example has a number of its own: `check` raises for one that was counted never or twice, or that
lost bytes without a `change`, so nothing disappears silently.

An unreadable or malformed row raises `DataError`, which stops the run unless the source sets
`on_error: skip`; then the row is counted under the error's `reason`. `Drop` marks a valid row with
nothing to learn from (a tie, an empty document): it is always counted and never stops the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from typing import Any

from hfllm.data.example import REMEDY, Counted, DataError, Drop, Example, row_bytes

__all__ = ["REMEDY", "UNITS", "Counted", "DataError", "Drop", "Example", "Ledger", "row_bytes"]

UNITS = ("documents", "tokens", "bytes")
# beside the sums: what of kept rows is not read or not trained, which files are read or not, tests
# that cannot be looked for, values of `where` that match no row, columns of `ignore` that none has
NOTED = (
    "unread:", "untrained:", "files:", "passed_over:", "unsearched:", "unmatched:", "unignored:"
)  # fmt: skip
_numbers = count()


class Ledger:
    """Counts by source and bucket, in documents, tokens and bytes; a unit not counted is 0.

    Buckets are "in", "kept", "dropped:REASON" and "changed:REASON"; `notes` are beside the sums.
    """

    def __init__(self) -> None:
        """Start without counts."""
        self.rows: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(UNITS, 0)
        )
        self.notes: dict[tuple[str, str], dict[str, int]] = {}  # (source, what): {file: rows}
        self.first: dict[tuple[str, str], str] = {}  # (source, reason): where it was dropped first
        self.open: dict[int, list[Any]] = {}  # number: place, source, parts to count, bytes to come
        self.problems: list[str] = []

    def expect(self, example: Example) -> None:
        """Announce an example that a reader yields: `keep` or `drop` must follow."""
        example.number = next(_numbers) if example.number is None else example.number
        self.open[example.number] = [example.place, example.source, 1, example.bytes]

    def split(self, example: Counted, parts: int) -> None:
        """Expect `parts` calls of `keep` or `drop`: the example is consumed as so many parts."""
        if example.number in self.open:
            self.open[example.number][2] += parts - 1
            self.open[example.number][3] = None  # what its parts say may overlap

    def skip(
        self, source: str, reason: str, documents: int = 1, bytes: int = 0, example: str = ""
    ) -> None:
        """Count rows that a reader never yields.

        Args:
            source: label of their source.
            reason: one word: unreadable, where (not selected), empty, ...
            documents: how many rows.
            bytes: their UTF-8 bytes together.
            example: place of the first of them, and what is wrong.
        """
        self.first.setdefault((source, reason), example)
        for bucket in ("in", f"dropped:{reason}"):
            self.add(source, bucket, documents, bytes=bytes)

    def note(self, source: str, what: str, file: str = "", rows: int = 1) -> None:
        """Count rows of which something (one of NOTED) holds, beside the sums: "unread:COLUMN"."""
        assert what.startswith(NOTED), what
        files = self.notes.setdefault((source, what), {})
        files[file] = files.get(file, 0) + rows

    def keep(self, example: Counted, tokens: int = 0) -> None:
        """Count an example that is used, with its tokens and its current bytes."""
        self._count(example, "kept", tokens)

    def drop(self, example: Counted, reason: str, tokens: int = 0) -> None:
        """Count an example that is not used, with its tokens, under a one-word reason."""
        self.first.setdefault((example.source, reason), example.place)
        self._count(example, f"dropped:{reason}", tokens)

    def change(self, example: Counted, reason: str, tokens: int = 0, bytes: int = 0) -> None:
        """Count what was removed from an example; `keep` or `drop` then counts the rest.

        Args:
            example: from which it was removed.
            reason: one word: boilerplate, pii, truncated, ...
            tokens: tokens removed.
            bytes: UTF-8 bytes removed; negative if the text grew.
        """
        for bucket in ("in", f"changed:{reason}"):
            self.add(example.source, bucket, 0, tokens, bytes)
        if example.number in self.open and self.open[example.number][3] is not None:
            self.open[example.number][3] -= bytes

    def _count(self, example: Counted, bucket: str, tokens: int) -> None:
        source, size = example.source, example.bytes
        name = f"ledger of {source!r}: {example.place or 'an example'}"
        if example.number is None or example.number not in self.open:
            self.problems.append(f"{name} was counted more than once, or never read")
        else:
            left = self.open[example.number]
            left[2] -= 1
            if left[3] not in (None, size):
                self.problems.append(f"{name}: {left[3] - size:,} bytes are gone without a change")
            if not left[2]:
                del self.open[example.number]
        self.add(source, "in", 1, tokens, size)
        self.add(source, bucket, 1, tokens, size)

    def add(
        self, source: str, bucket: str, documents: int = 0, tokens: int = 0, bytes: int = 0
    ) -> None:
        """Add documents, tokens and bytes to one `bucket` of one `source`.

        It alone does not count "in": `keep`, `drop`, `change` and `skip` do.
        """
        row = self.rows[source, bucket]
        row["documents"] += documents
        row["tokens"] += tokens
        row["bytes"] += bytes

    def total(self, bucket: str, unit: str = "documents") -> int:
        """Sum over sources of a bucket, or of every reason of one ("dropped", "changed")."""
        return sum(
            row[unit]
            for (_, name), row in self.rows.items()
            if name.split(":")[0] == bucket or name == bucket
        )

    def reasons(self, unit: str = "documents", source: str | None = None) -> dict[str, int]:
        """{reason: count dropped}, of one source or of all, the largest first."""
        out: dict[str, int] = defaultdict(int)
        for (label, bucket), row in self.rows.items():
            if bucket.startswith("dropped:") and source in (None, label):
                out[bucket.removeprefix("dropped:")] += row[unit]
        return dict(sorted(out.items(), key=lambda item: -item[1]))

    def left_out(self, what: str) -> list[str]:
        """A note for the manifest if something was dropped, else []; `what` begins it."""
        reasons = ", ".join(f"{name} {count:,}" for name, count in self.reasons().items())
        return [f"{what} left out: {reasons}"] if reasons else []

    def merge(self, other: Ledger) -> None:
        """Add another ledger's counts."""
        for (source, bucket), row in other.rows.items():
            self.add(source, bucket, **row)
        self.open |= other.open
        self.problems += other.problems
        self.first = other.first | self.first
        for (source, what), files in other.notes.items():
            for file, rows in files.items():
                self.note(source, what, file, rows)

    def check(self) -> None:
        """Raise ValueError for an example counted never or twice, and for sums that do not hold."""
        for place, source, *_ in list(self.open.values())[:1]:
            raise ValueError(
                f"ledger of {source!r}: {len(self.open):,} examples were counted never, the first "
                f"{place}; call ledger.keep or ledger.drop once for each example that is read"
            )
        for problem in self.problems[:1]:
            raise ValueError(
                f"{problem} ({len(self.problems):,} such); call ledger.keep or ledger.drop once "
                "for each example, and ledger.change for what is taken from it"
            )
        for source in sorted({source for source, _ in self.rows}):
            for unit in UNITS:
                buckets = {b: row[unit] for (s, b), row in self.rows.items() if s == source}
                total_in, total_out = buckets.pop("in", 0), sum(buckets.values())
                if total_in != total_out:
                    raise ValueError(
                        f"ledger of {source!r}: {total_in:,} {unit} in, but kept + dropped + "
                        f"changed = {total_out:,}: {buckets}"
                    )

    def to_json(self) -> list[dict[str, Any]]:
        """The rows of a manifest's ledger: source, bucket, documents, tokens, bytes.

        Raises what `check` raises: no manifest gets a ledger that does not hold.
        """
        self.check()
        rows = [{"source": s, "bucket": b, **row} for (s, b), row in self.rows.items()]
        return rows + [
            {"source": s, "bucket": b, "file": file, "documents": n, "tokens": 0, "bytes": 0}
            for (s, b), files in self.notes.items()
            for file, n in files.items()
        ]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, Any]]) -> Ledger:
        """The inverse of `to_json`."""
        ledger = cls()
        for row in rows:
            if row["bucket"].startswith(NOTED):
                ledger.note(row["source"], row["bucket"], row.get("file", ""), row["documents"])
            else:
                ledger.add(row["source"], row["bucket"], **{unit: row[unit] for unit in UNITS})
        return ledger

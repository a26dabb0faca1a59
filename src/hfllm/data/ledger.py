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
(unreadable, not selected, nothing to learn from). `check` raises for an example that was counted
never or twice, so nothing disappears silently.

An unreadable or malformed row raises `DataError`, which stops the run unless the source sets
`on_error: skip`; then the row is counted under the error's `reason`. `Drop` marks a valid row with
nothing to learn from (a tie, an empty document): it is always counted and never stops the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

UNITS = ("documents", "tokens", "bytes")
REMEDY = "set `on_error: skip` on the source to drop and count such rows"


class Example(dict[str, Any]):
    """A dict with its place ("web.jsonl:17"); `{**example}` and `example | {}` are plain dicts."""

    __slots__ = ("place",)

    def __init__(self, row: dict[str, Any], place: str = "") -> None:
        """Copy a row that was read; its "source" is the label under which the ledger counts it."""
        super().__init__(row)
        self.place = place

    @property
    def source(self) -> str:
        """Label of the source that it was read from."""
        return self["source"]

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of its text (`row_bytes`)."""
        return row_bytes(self)


class Counted(Protocol):
    """What the ledger counts: an `Example`, or the `Document` that curation makes of one."""

    @property
    def source(self) -> str:
        """Label under which it is counted."""

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of its current text."""


class DataError(ValueError):
    """One line: file and row, what is wrong, what to do; `reason` is the ledger's bucket for it."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        """Store `reason` with the message."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Drop:
    """A valid row that is dropped: the one-word reason for the ledger, and a detail."""

    reason: str
    detail: str | None = None  # the document that it duplicates, the test that it contains


def row_bytes(row: dict[str, Any]) -> int:
    """UTF-8 bytes of a row's text or html, its messages, or its prompt, chosen and rejected.

    In a row with none of these (not yet adapted), all strings but `id` and `source` count.
    """
    for key in ("text", "html", "messages"):
        if key in row:
            return _bytes(row[key])
    if "prompt" in row:
        return sum(_bytes(row[key]) for key in ("prompt", "chosen", "rejected") if key in row)
    return sum(_bytes(value) for key, value in row.items() if key not in ("id", "source"))


def _bytes(value: Any) -> int:
    """UTF-8 bytes of the strings in a value; of a message only `content` counts."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_bytes, value))
    if isinstance(value, dict):
        return _bytes(value["content"]) if "content" in value else sum(map(_bytes, value.values()))
    return 0


class Ledger:
    """Counts by source and bucket, in documents, tokens and bytes; a unit not counted is 0.

    Buckets are "in", "kept", "dropped:REASON" and "changed:REASON".
    """

    def __init__(self) -> None:
        """Start without counts."""
        self.rows: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(UNITS, 0)
        )
        self.pending: Counter[str] = Counter()  # by source: examples neither kept nor dropped yet

    def expect(self, example: Counted) -> None:
        """Announce an example that a reader yields: `keep` or `drop` must follow."""
        self.pending[example.source] += 1

    def split(self, example: Counted, parts: int) -> None:
        """Expect `parts` calls of `keep` or `drop`: the example is consumed as so many parts."""
        self.pending[example.source] += parts - 1

    def skip(self, source: str, reason: str, documents: int = 1, bytes: int = 0) -> None:
        """Count rows that a reader never yields.

        Args:
            source: label of their source.
            reason: one word: unreadable, where (not selected), empty, ...
            documents: how many rows.
            bytes: their UTF-8 bytes together.
        """
        for bucket in ("in", f"dropped:{reason}"):
            self.add(source, bucket, documents, bytes=bytes)

    def keep(self, example: Counted, tokens: int = 0) -> None:
        """Count an example that is used, with its tokens and its current bytes."""
        self._count(example, "kept", tokens)

    def drop(self, example: Counted, reason: str, tokens: int = 0) -> None:
        """Count an example that is not used, with its tokens, under a one-word reason."""
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

    def _count(self, example: Counted, bucket: str, tokens: int) -> None:
        source, size = example.source, example.bytes
        self.pending[source] -= 1
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
        for source, count in other.pending.items():
            self.pending[source] += count

    def check(self) -> None:
        """Raise ValueError for an example counted never or twice, and for sums that do not hold."""
        for source, count in sorted(self.pending.items()):
            if count:
                wrong = "never" if count > 0 else "more than once"
                raise ValueError(
                    f"ledger of {source!r}: {abs(count):,} examples were counted {wrong}; call "
                    "ledger.keep or ledger.drop once for each example that is read"
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
        """The rows of a manifest's ledger: source, bucket, documents, tokens, bytes."""
        return [{"source": s, "bucket": b, **row} for (s, b), row in self.rows.items()]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, Any]]) -> Ledger:
        """The inverse of `to_json`."""
        ledger = cls()
        for row in rows:
            ledger.add(row["source"], row["bucket"], **{unit: row[unit] for unit in UNITS})
        return ledger

"""What a reader yields, and what it raises: `Example`, `Drop`, `DataError`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

REMEDY = "set `on_error: skip` on the source to drop and count such rows"


class Example(dict[str, Any]):
    """A dict with its place ("web.jsonl:17"); `{**example}` and `example | {}` are plain dicts."""

    __slots__ = ("added", "number", "place")

    def __init__(self, row: dict[str, Any], place: str = "", number: int | None = None) -> None:
        """Copy a row that was read; its "source" is the label under which the ledger counts it."""
        super().__init__(row)
        self.place = place
        self.number = number  # which example of the run it is; the ledger gives it
        self.added: tuple[str, ...] = ()  # columns that the reader added; the file has none

    def part(self, **changes: Any) -> Example:
        """A part of the example (a chat up to an answer): the same place and number."""
        return Example({**self, **changes}, self.place, self.number)

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
    def number(self) -> int | None:
        """Which example of the run it is."""

    @property
    def place(self) -> str:
        """File and row."""

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

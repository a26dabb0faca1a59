"""The words of this room: a row that is wrong, a row that is useless, and how large a row is.

`DataError` is the user's mistake or the file's damage: it stops the run unless the source says
`on_error: skip`, when the row is counted under the error's `reason`. `Drop` is a sound row that
nobody can learn from (a tie, an empty document): it is always counted and never stops anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

FORMATS = (
    "text", "html", "messages", "sharegpt", "alpaca", "question_answer", "gsm8k",
    "prompt_response", "pairs", "hh", "pandalm", "prompt",
)  # what `format` of a source may say (data/reading/formats.py)  # fmt: skip

REMEDY = "set `on_error: skip` on the source to drop and count such rows"


class DataError(ValueError):
    """One line: which file and row, what is wrong, what to do; `reason` is its ledger bucket."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        """Keep `reason` beside the message."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Drop:
    """A sound row that is left out, and the one-word reason that the ledger counts."""

    reason: str


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

"""Note what nobody reads of the rows: columns, and keys of messages (`unread:COLUMN`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.messages import unread_keys
from hfllm.data.reading.rows import file_of
from hfllm.recipe.config import SourceConfig

IDENTITY = ("id", "source", "origin")  # who a row is, of use to messages and to the ledger
# columns whose messages are converted
MESSAGES = ("messages", "conversations", "prompt", "completion", "chosen", "rejected", "history")
Reads = Callable[[dict[str, Any], str | None], tuple[str, ...]]  # of a row and its format


def selecting(source: SourceConfig) -> tuple[str, ...]:
    """The columns by which a source selects its rows: they are read."""
    return (*source.where, *(source.where_not or {}))


def note_unread(row: Example, example: Example, read: tuple[str, ...], ledger: Ledger) -> None:
    """Note what is read neither of the row nor of its messages.

    Args:
        row: as it was read.
        example: what was made of it.
        read: the columns of the example that somebody reads.
        ledger: gets a note for each column and each key of a message.
    """
    unread = [
        f"unread:{key}"
        for key in _others(tuple(example), read)
        if example[key] not in (None, "", [], {})
    ]
    for key in _converted(tuple(row)):
        if key in read or example.get(key) is not row[key]:
            unread += [f"unread:{key}[].{inner}" for inner in unread_keys(row[key])]
    if unread:
        file = file_of(row.place)
        for what in unread:
            ledger.note(row.source, what, file)


@lru_cache(maxsize=1024)  # most rows of a file have the same columns
def _others(keys: tuple[str, ...], read: tuple[str, ...]) -> tuple[str, ...]:
    known = {*read, *IDENTITY}
    return tuple(key for key in keys if key not in known)


@lru_cache(maxsize=1024)
def _converted(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key in MESSAGES)

"""Read a list of sources into examples: documents, chats, pairs, labelled answers or prompts.

The rows of a source (rows.py) are converted to the kind of example that is read (formats.py).
Sources are read one after the other, in the order given. Streaming: one row at a time, nothing is
cached.

A value of `where` is the column's value, a list of values, or a glob for text: {id: "history/*"};
so {id: "*7"} selects every tenth row of a file whose rows have no id, and `where_not` the others.

Ledger: the reader counts the rows that it never yields: with `on_error: skip` `dropped:unreadable`
and the errors of formats.py, `dropped:where`, and rows with nothing to learn from by their reason;
the consumer of the examples counts the rest. Rows beyond `limit` are not read, so not counted. If
the number of lost rows is unknown (a gzip file cut off), one is counted. Columns and keys of
messages that the conversion does not read are noted ("unread:COLUMN"); every other column of a
prompt goes to the reward functions, so it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from hfllm.data.ledger import REMEDY, DataError, Drop, Example, Ledger
from hfllm.data.reading.files import Resolve
from hfllm.data.reading.formats import as_chat, as_document, as_pair, as_prompt
from hfllm.data.reading.labelled import as_labelled
from hfllm.data.reading.rows import TRIED, label, read_rows
from hfllm.data.reading.unread import Reads, note_unread, selecting
from hfllm.recipe.config import SourceConfig

__all__ = [
    "label",
    "read_as",
    "read_chats",
    "read_documents",
    "read_labelled",
    "read_pairs",
    "read_prompts",
    "read_rows",
    "read_texts",
]

OnDrop = Callable[[Example, Drop], None]
Adapter = Callable[[dict[str, Any], str | None], dict[str, Any] | Drop]


def read_documents(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None = None,
    on_drop: OnDrop | None = None,
) -> Iterator[Example]:
    """Yield documents: {"id", "source", "text" or "html", ...}.

    The other readers of this module take the same arguments and raise the same error.

    Args:
        sources: read in this order.
        resolve: name of a step -> its data folder.
        ledger: counts the rows that are not yielded, and expects `keep` or `drop` of the others.
        on_drop: called with every row that has nothing to learn from, as it was read.

    Raises:
        DataError: an unreadable or malformed row, unless its source sets `on_error: skip`.
    """
    return _read(sources, resolve, ledger, as_document, on_drop)


def read_texts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """`read_documents` with `text`; DataError also for a document that is still HTML."""
    ledger = Ledger() if ledger is None else ledger
    for source in sources:
        read = ("text", *selecting(source))
        for document in read_documents([source], resolve, ledger):
            if "text" not in document:
                where = f"source {document.source!r}, row {document['id']}"
                raise DataError(f"{where}: has `html` and no `text`: run it through `curate` first")
            note_unread(document, document, read, ledger)
            yield document


def read_chats(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield conversations: {"id", "source", "messages", ...}; arguments of `read_documents`."""
    return _read(sources, resolve, ledger, as_chat, reads=lambda *_: ("messages", "tools"))


def read_pairs(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield pairs: {"prompt", "chosen", "rejected", ...}; arguments of `read_documents`."""
    sides = ("prompt", "chosen", "rejected")
    return _read(sources, resolve, ledger, as_pair, reads=lambda *_: sides)


def read_labelled(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield answers that are good (`chosen`) or bad (`rejected`), or both, with their `prompt`."""
    sides = ("prompt", "chosen", "rejected")
    return _read(sources, resolve, ledger, as_labelled, reads=lambda *_: sides)


def read_prompts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield prompts, with the columns for reward functions; arguments of `read_documents`."""
    return _read(sources, resolve, ledger, as_prompt)


def read_as(
    adapt: Adapter,
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None = None,
    *,
    reads: Reads | None = None,
) -> Iterator[Example]:
    """Yield the rows as `adapt` converts them; the others of `sources` are noted by `reads`.

    Args:
        adapt: row and format -> what is yielded, or `Drop`.
        sources: as the arguments that follow, those of `read_documents`.
        resolve: name of a step -> its data folder.
        ledger: counts; see there.
        reads: row and format -> the columns that somebody reads; None: all.
    """
    return _read(sources, resolve, ledger, adapt, reads=reads)


def _read(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None,
    adapt: Adapter,
    on_drop: OnDrop | None = None,
    reads: Reads | None = None,
) -> Iterator[Example]:
    ledger = Ledger() if ledger is None else ledger
    for source in sources:
        good, chosen_by = False, selecting(source)
        for row in read_rows(source, resolve, ledger):
            detail = ""
            try:
                adapted = adapt(row, source.format)
            except DataError as error:
                if source.on_error != "skip":
                    remedy = f"; {REMEDY}" if good or _any_good(source, resolve, adapt) else ""
                    raise DataError(f"{row.place}: {error}{remedy}", error.reason) from None
                adapted, detail = Drop(error.reason), f": {error}"
            if isinstance(adapted, Drop):
                place = f"{row.place}{detail}"
                ledger.skip(row.source, adapted.reason, bytes=row.bytes, example=place)
                if on_drop:
                    on_drop(row, adapted)
                continue
            good = True
            example = Example(adapted, row.place)
            ledger.expect(example)
            if reads:
                note_unread(row, example, (*reads(row, source.format), *chosen_by), ledger)
            yield example


def _any_good(source: SourceConfig, resolve: Resolve, adapt: Adapter) -> bool:
    """Whether one of the first rows can be converted: else to skip the others is no advice."""
    tried = dataclasses.replace(source, limit=TRIED, on_error="skip")
    return next(_read([tried], resolve, None, adapt), None) is not None

"""Path or hub -> rows -> examples: documents, chats, pairs and prompts out of a list of sources.

In order: read a row (files.py, or the hub), rename `columns`, give an "id" where there is none
("web.jsonl:17"), apply `where` and `where_not`, stop at `limit`, set "source" to the label (a row's
own, differing "source" moves to "origin"), adapt it to the kind that was asked for (formats.py).
Sources are read one after the other, in the order given. Streaming: one row at a time, nothing is
cached.

A value of `where` is the column's value, a list of such, or a glob for text: {id: "history/*"}; so
{id: "*7"} holds out every tenth row of a file whose rows have no id, and where_not keeps the rest.

Ledger: the reader says what it never yields, `dropped:unreadable` and the errors of formats.py
(with `on_error: skip`), `dropped:where`, and the useless ones by their reason; who consumes the
examples says the rest. Rows beyond `limit` are not read, so not counted. Where damage hides how
many rows are lost (a gzip file cut off), one is counted.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hfllm.data.ledger import REMEDY, DataError, Drop, Example, Ledger, Row, row_bytes
from hfllm.data.reading.files import Bad, Located, Resolve, find_files, read_file
from hfllm.data.reading.formats import as_chat, as_document, as_pair, as_prompt
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import first_line

OnDrop = Callable[[Example, Drop], None]
Adapter = Callable[[Row, str | None], Row | Drop]


def read_documents(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None = None,
    on_drop: OnDrop | None = None,
) -> Iterator[Example]:
    """Yield documents ({"id", "source", "text" or "html", ...}); DataError on a malformed row.

    on_drop is told of every row, as it was read, that is left out for what it says.
    """
    return _read(sources, resolve, ledger, as_document, on_drop)


def read_texts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield documents that have a `text`; DataError on one that is still HTML."""
    for document in read_documents(sources, resolve, ledger):
        if "text" not in document:
            where = f"source {document.source!r}, row {document['id']}"
            raise DataError(f"{where}: has `html` and no `text`: run it through `curate` first")
        yield document


def read_chats(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield conversations ({"id", "source", "messages", ...}); DataError on a malformed row."""
    return _read(sources, resolve, ledger, as_chat)


def read_pairs(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield preferences ({"prompt", "chosen", "rejected", ...}); DataError on a malformed row."""
    return _read(sources, resolve, ledger, as_pair)


def read_prompts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield prompts ({"prompt", ...} and the columns for rewards); DataError on a malformed row."""
    return _read(sources, resolve, ledger, as_prompt)


def _read(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None,
    adapt: Adapter,
    on_drop: OnDrop | None = None,
) -> Iterator[Example]:
    ledger = Ledger() if ledger is None else ledger
    for source in sources:
        for row in read_rows(source, resolve, ledger):
            try:
                adapted = adapt(row, source.format)
            except DataError as error:
                if source.on_error != "skip":
                    raise DataError(f"{row.place}: {error}; {REMEDY}", error.reason) from None
                adapted = Drop(error.reason)
            if isinstance(adapted, Drop):
                ledger.skip(row.source, adapted.reason, bytes=row.bytes)
                if on_drop:
                    on_drop(row, adapted)
                continue
            example = Example(adapted, row.place)
            ledger.expect(example)
            yield example


def read_rows(
    source: SourceConfig, resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield the rows of a source as they are; `resolve(step)` gives the data folder of a step.

    The ledger gets those that are left out alone. Raises DataError naming file, row and byte,
    unless the source says `on_error: skip`.
    """
    name, ledger = label(source), Ledger() if ledger is None else ledger
    bad = _damage(source, ledger)
    taken = 0
    for place, raw in _hub(source) if source.hub else _files(source, resolve, bad):
        try:
            row = _with_id(_rename(raw, source.columns), place)
            wanted = _selected(row, source)
        except DataError as error:
            bad(f"{place}: {error}", bytes=row_bytes(raw))
            continue
        if not wanted:
            ledger.skip(name, "where", bytes=row_bytes(row))
            continue
        taken += 1
        yield _labelled(row, name, place)
        if taken == source.limit:  # before the next is read: it may be broken
            return


def label(source: SourceConfig) -> str:
    """Name of a source in the ledger: its `name`, else its file's, step's or data set's."""
    if source.name:
        return source.name
    if source.hub:
        return "/".join(filter(None, [source.hub.rstrip("/").split("/")[-1], source.subset]))
    where = source.path or source.file
    if not where:
        return str(source.step)
    path = Path(where)
    stem = path.name.split(".")[0].rstrip("-_*?0123456789") if glob.has_magic(where) else path.stem
    return stem.split(".")[0] or path.parent.name or where


def _damage(source: SourceConfig, ledger: Ledger) -> Bad:
    """What a reader calls on damage: raise, or count where the source says `on_error: skip`."""

    def bad(message: str, rows: int = 1, bytes: int = 0) -> None:
        if source.on_error != "skip":
            raise DataError(f"{message}; {REMEDY}")
        if rows:
            ledger.skip(label(source), "unreadable", rows, bytes)

    return bad


def _files(source: SourceConfig, resolve: Resolve, bad: Bad) -> Iterator[Located]:
    for path in find_files(source, resolve):
        yield from read_file(path, bad)


def _hub(source: SourceConfig) -> Iterator[Located]:
    """Rows of a `datasets` id or local folder; streamed where a limit says how few are wanted."""
    import datasets  # 0.6 s: only who reads the hub pays

    name = f"hub data set {source.hub}"
    stream = source.limit is not None and not datasets.config.HF_HUB_OFFLINE
    try:
        rows = datasets.load_dataset(
            source.hub,
            source.subset,
            split=source.split,
            revision=source.revision,
            streaming=stream,
        )
        for number, row in enumerate(rows, 1):
            yield f"{name}: row {number:,}", row
    except Exception as error:  # the library raises some twenty kinds, all of them about the data
        first = first_line(error)
        raise DataError(
            f"{name}, split {source.split!r}: {type(error).__name__}: {first}"
        ) from error


def _rename(row: Row, columns: dict[str, str]) -> Row:
    missing = [theirs for theirs in columns if theirs not in row]
    if missing:
        raise DataError(f"no column {missing[0]!r} to rename; it has: {', '.join(row)}")
    return {columns.get(key, key): value for key, value in row.items()} if columns else row


def _with_id(row: Row, place: str) -> Row:
    given = row.get("id")
    made = Path(place).name.replace(": row ", ":").replace(",", "") if given is None else str(given)
    return {**row, "id": made}


def _selected(row: Row, source: SourceConfig) -> bool:
    """Whether every column of `where` fits and none of `where_not` does."""
    unwanted = source.where_not or {}
    return all(_fits(row, *item) for item in source.where.items()) and not any(
        _fits(row, *item) for item in unwanted.items()
    )


def _fits(row: Row, key: str, wanted: Any) -> bool:
    """Whether a column equals the value, or the glob fits it, or one of a list of these does."""
    if key not in row:
        raise DataError(f"no column {key!r} to select by; it has: {', '.join(row)}")
    found = row[key]
    for value in (wanted, *wanted) if isinstance(wanted, list) else (wanted,):
        if found == value:
            return True
        if isinstance(found, str) and isinstance(value, str) and fnmatchcase(found, value):
            return True
    return False


def _labelled(row: Row, name: str, place: str) -> Example:
    example, own = Example(row, place), row.get("source")
    if isinstance(own, str) and own != name and "origin" not in row:
        example["origin"] = own
    example["source"] = name
    return example

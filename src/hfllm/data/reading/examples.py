"""Read a list of sources into examples: documents, chats, preference pairs or prompts.

In order: read a row (files.py, or the hub), rename `columns`, add an "id" if it has none
("web.jsonl:17"), apply `where` and `where_not`, stop at `limit`, set "source" to the source's label
(the row's own "source", if it differs, moves to "origin"), convert it to the kind of example that
is read (formats.py). Sources are read one after the other, in the order given. Streaming: one row
at a time, nothing is cached.

A value of `where` is the column's value, a list of values, or a glob for text: {id: "history/*"};
so {id: "*7"} selects every tenth row of a file whose rows have no id, and `where_not` the others.

Ledger: the reader counts the rows that it never yields: with `on_error: skip` `dropped:unreadable`
and the errors of formats.py, `dropped:where`, and rows with nothing to learn from by their reason;
the consumer of the examples counts the rest. Rows beyond `limit` are not read, so not counted. If
the number of lost rows is unknown (a gzip file cut off), one is counted.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hfllm.data.ledger import REMEDY, DataError, Drop, Example, Ledger, row_bytes
from hfllm.data.reading.files import LocatedRow, OnDamage, Resolve, find_files, read_file
from hfllm.data.reading.formats import as_chat, as_document, as_pair, as_prompt
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import first_line

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
    for document in read_documents(sources, resolve, ledger):
        if "text" not in document:
            where = f"source {document.source!r}, row {document['id']}"
            raise DataError(f"{where}: has `html` and no `text`: run it through `curate` first")
        yield document


def read_chats(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield conversations: {"id", "source", "messages", ...}; arguments of `read_documents`."""
    return _read(sources, resolve, ledger, as_chat)


def read_pairs(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield pairs: {"prompt", "chosen", "rejected", ...}; arguments of `read_documents`."""
    return _read(sources, resolve, ledger, as_pair)


def read_prompts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Example]:
    """Yield prompts, with the columns for reward functions; arguments of `read_documents`."""
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
    """Yield the selected rows of a source, not converted by formats.py.

    Args:
        source: which files or hub data set, and which rows of it.
        resolve: name of a step -> its data folder.
        ledger: counts only the rows that are not yielded.

    Raises:
        DataError: naming file, row and byte, unless the source sets `on_error: skip`.
    """
    name, ledger = label(source), Ledger() if ledger is None else ledger
    on_damage = _damage_handler(source, ledger)
    selected = 0
    for place, raw in _hub(source) if source.hub else _files(source, resolve, on_damage):
        try:
            row = _with_id(_rename(raw, source.columns), place)
            wanted = _selected(row, source)
        except DataError as error:
            on_damage(f"{place}: {error}", bytes=row_bytes(raw))
            continue
        if not wanted:
            ledger.skip(name, "where", bytes=row_bytes(row))
            continue
        selected += 1
        yield _labelled(row, name, place)
        if selected == source.limit:  # before the next row is read: it may be unreadable
            return


def label(source: SourceConfig) -> str:
    """A source's name in the ledger: its `name`, else that of its file, step or data set."""
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


def _damage_handler(source: SourceConfig, ledger: Ledger) -> OnDamage:
    """The callback of a reader for unreadable rows: raise, or with `on_error: skip` count them."""

    def on_damage(message: str, rows: int = 1, bytes: int = 0) -> None:
        if source.on_error != "skip":
            raise DataError(f"{message}; {REMEDY}")
        if rows:
            ledger.skip(label(source), "unreadable", rows, bytes)

    return on_damage


def _files(source: SourceConfig, resolve: Resolve, on_damage: OnDamage) -> Iterator[LocatedRow]:
    for path in find_files(source, resolve):
        yield from read_file(path, on_damage)


def _hub(source: SourceConfig) -> Iterator[LocatedRow]:
    """Rows of a data set of the hub, or of a local folder; streamed if the source has a limit."""
    import datasets  # 0.6 s, not needed for files

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
    except Exception as error:  # the library raises some twenty types, all of them about the data
        first = first_line(error)
        raise DataError(
            f"{name}, split {source.split!r}: {type(error).__name__}: {first}"
        ) from error


def _rename(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    missing = [theirs for theirs in columns if theirs not in row]
    if missing:
        raise DataError(f"no column {missing[0]!r} to rename; it has: {', '.join(row)}")
    return {columns.get(key, key): value for key, value in row.items()} if columns else row


def _with_id(row: dict[str, Any], place: str) -> dict[str, Any]:
    given = row.get("id")
    made = Path(place).name.replace(": row ", ":").replace(",", "") if given is None else str(given)
    return {**row, "id": made}


def _selected(row: dict[str, Any], source: SourceConfig) -> bool:
    """Whether every column of `where` matches and none of `where_not` does."""
    unwanted = source.where_not or {}
    return all(_matches(row, *item) for item in source.where.items()) and not any(
        _matches(row, *item) for item in unwanted.items()
    )


def _matches(row: dict[str, Any], key: str, wanted: Any) -> bool:
    """Whether a column equals a value or matches a glob, or one of a list of these."""
    if key not in row:
        raise DataError(f"no column {key!r} to select by; it has: {', '.join(row)}")
    found = row[key]
    for value in (wanted, *wanted) if isinstance(wanted, list) else (wanted,):
        if found == value:
            return True
        if isinstance(found, str) and isinstance(value, str) and fnmatchcase(found, value):
            return True
    return False


def _labelled(row: dict[str, Any], name: str, place: str) -> Example:
    example, own = Example(row, place), row.get("source")
    if isinstance(own, str) and own != name and "origin" not in row:
        example["origin"] = own
    example["source"] = name
    return example

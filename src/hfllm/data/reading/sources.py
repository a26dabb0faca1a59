"""Rows from anywhere: files, what an earlier step wrote, a `datasets` folder or hub id.

In order: find the files, read a row, rename `columns`, give an "id" where there is none
("web.jsonl:17"), apply `where` and `where_not`, stop at `limit`, set "source" to the label (a row's
own, differing "source" moves to "origin"). Streaming: one row at a time, nothing is cached.

A value of `where` is the column's value, a list of such, or a glob for text: {id: "history/*"}; so
{id: "*7"} holds out every tenth row of a file whose rows have no id, and where_not keeps the rest.

Ledger: rows that the caller never sees are counted here, in and out at once: unreadable ones under
`dropped:unreadable` (with `on_error: skip`), those that are not selected under `dropped:where`.
Rows that are yielded are the caller's to count. Rows beyond `limit` are not read, so not counted.
Where damage hides how many rows are lost (a gzip file cut off), one is counted.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hfllm.data.errors import FORMATS, REMEDY, DataError, Row, row_bytes
from hfllm.data.ledger import Ledger
from hfllm.data.reading.file_readers import Bad, Located, read_file
from hfllm.data.reading.files import Resolve, find_files
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import first_line

ON_ERROR = ("raise", "skip")


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


def read_rows(
    source: SourceConfig, resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Row]:
    """Yield the rows of a source as dicts; `resolve(step)` gives the data folder of a step.

    Raises DataError naming file, row and byte, unless the source says `on_error: skip`.
    """
    return (row for _, row in read_located(source, resolve, ledger))


def read_located(
    source: SourceConfig, resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Located]:
    """As `read_rows`, each row with its place ("web.jsonl:17") for error messages."""
    name = label(source)
    bad = _damage(source, ledger)
    located = _hub(source) if source.hub else _files(source, resolve, bad)
    taken = 0
    for place, raw in located:
        try:
            row = _with_id(_rename(raw, source.columns), place)
            wanted = _selected(row, source)
        except DataError as error:
            bad(f"{place}: {error}", bytes=row_bytes(raw))
            continue
        if not wanted:
            count_out(ledger, name, "where", row_bytes(row))
            continue
        taken += 1
        yield place, _labelled(row, name)
        if taken == source.limit:  # before the next is read: it may be broken
            return


def count_out(
    ledger: Ledger | None, source: str, reason: str, bytes: int = 0, rows: int = 1
) -> None:
    """Count rows as come in and dropped for a reason, at once."""
    if ledger is not None:
        ledger.add(source, "in", documents=rows, bytes=bytes)
        ledger.add(source, f"dropped:{reason}", documents=rows, bytes=bytes)


def _damage(source: SourceConfig, ledger: Ledger | None) -> Bad:
    """What a reader calls on damage: raise, or count where the source says `on_error: skip`."""

    def bad(message: str, rows: int = 1, bytes: int = 0) -> None:
        if source.on_error != "skip":
            raise DataError(f"{message}; {REMEDY}")
        if rows:
            count_out(ledger, label(source), "unreadable", bytes, rows)

    return bad


def _rename(row: Row, columns: dict[str, str]) -> Row:
    missing = [theirs for theirs in columns if theirs not in row]
    if missing:
        raise DataError(f"no column {missing[0]!r} to rename; it has: {', '.join(row)}")
    return {columns.get(key, key): value for key, value in row.items()} if columns else row


def _with_id(row: Row, place: str) -> Row:
    given = row.get("id")
    made = Path(place).name.replace(": row ", ":").replace(",", "")
    return {**row, "id": made if given is None else str(given)}


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


def _labelled(row: Row, name: str) -> Row:
    own = row.get("source")
    if isinstance(own, str) and own != name and "origin" not in row:
        row = {**row, "origin": own}
    return {**row, "source": name}


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


def check_sources(sources: list[SourceConfig], resolve: Resolve) -> list[str]:
    """Problems that can be seen without reading rows, one line each; for checks before a run.

    A step that has not run yet is no problem; `resolve` may raise for a step that never will.
    """
    names = [label(source) for source in sources]
    problems = [
        f"two sources are called {name!r}: give one another `name`"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    for source, name in zip(sources, names, strict=True):
        problems += [f"source {name!r}: {problem}" for problem in _check(source, resolve)]
    return problems


def _check(source: SourceConfig, resolve: Resolve) -> Iterator[str]:
    places = [key for key in ("step", "path", "hub") if getattr(source, key)]
    if len(places) != 1:
        yield f"set exactly one of `step`, `path` and `hub`, not {' and '.join(places) or 'none'}"
    if source.on_error not in ON_ERROR:
        yield f"on_error is {source.on_error!r}, but must be one of {', '.join(ON_ERROR)}"
    if source.format and source.format not in FORMATS:
        yield f"format {source.format!r} is unknown; known: {', '.join(FORMATS)}"
    for key in ("weight", "limit"):
        value = getattr(source, key)
        if value is not None and value <= 0:
            yield f"{key} is {value}, but must be above 0"
    if places in (["step"], ["path"]):
        try:
            if not source.step or resolve(source.step).is_dir():
                find_files(source, resolve)
        except (ValueError, KeyError) as error:
            yield str(error)

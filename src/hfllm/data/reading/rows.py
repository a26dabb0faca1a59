"""A source's rows: read from files or the hub, named, renamed and selected, not yet converted.

In order: read a row (files.py, or the hub), leave out what `ignore` names, rename `columns`, add an
"id" if it has none ("web.jsonl:17"), apply `where` and `where_not` (select_rows.py), stop at
`limit`, set "source" to the source's label (the row's own "source", if it differs, moves to
"origin").
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfllm.data.ledger import REMEDY, DataError, Example, Ledger, row_bytes
from hfllm.data.reading.arrow_values import as_json_value
from hfllm.data.reading.files import LocatedRow, OnDamage, Resolve, read_file
from hfllm.data.reading.find import Found, find
from hfllm.data.reading.messages import named, said
from hfllm.data.reading.select_rows import Selection
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import first_line
from hfllm.recipe.paths import shown

TRIED = 100  # rows, to find out whether all are wrong


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
    on_damage = _damage_handler(source, ledger, resolve)
    found, selection, ignored = 0, Selection(source), set[str]()
    for place, raw in _hub(source) if source.hub else _files(source, resolve, ledger):
        try:
            own = _rename(_without(raw, source.ignore, ignored), source.columns)
            row = _with_id(own, place)
            wanted = selection.wants(row)
        except DataError as error:
            on_damage(f"{place}: {error}", bytes=row_bytes(raw))
            continue
        if not wanted:
            ledger.skip(name, "where", bytes=row_bytes(row))
            continue
        found += 1
        example = _labelled(row, name, place)
        example.added = tuple(key for key in example if key not in own)
        yield example
        if found == source.limit:  # before the next row is read: it may be unreadable
            return
    for condition in selection.unmatched():
        ledger.note(name, f"unmatched:{condition}")
    for column in source.ignore or ():
        if column not in ignored:
            ledger.note(name, f"unignored:{column}")


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


def _damage_handler(source: SourceConfig, ledger: Ledger, resolve: Resolve) -> OnDamage:
    """The callback of a reader for unreadable rows: raise, or with `on_error: skip` count them."""

    def on_damage(message: str, rows: int = 1, bytes: int = 0) -> None:
        if source.on_error != "skip":
            remedy = f"; {REMEDY}" if _any_row(source, resolve) else ""
            raise DataError(f"{message}{remedy}")
        if rows:
            ledger.skip(label(source), "unreadable", rows, bytes, message)

    return on_damage


class _AllDamagedError(Exception):
    """The first rows of a source are all unreadable."""


def _any_row(source: SourceConfig, resolve: Resolve) -> bool:
    """Whether one of the first rows can be read: else to skip the others is no advice."""
    damaged = Counter[str]()

    def count(*_: Any, **__: Any) -> None:
        damaged["rows"] += 1
        if damaged["rows"] == TRIED:
            raise _AllDamagedError

    try:
        rows = (row for path in find(source, resolve).files for row in read_file(path, count))
        return next(rows, None) is not None
    except _AllDamagedError:
        return False


def _files(source: SourceConfig, resolve: Resolve, ledger: Ledger) -> Iterator[LocatedRow]:
    found, on_damage = find(source, resolve), _damage_handler(source, ledger, resolve)
    _note_files(found, label(source), ledger)
    without = []
    for path in found.files:
        if (yield from read_file(path, on_damage)):
            without.append(path)
    if without:
        ledger.note(label(source), "passed_over:without rows", shown(without[0].name), len(without))
    if without == found.files:
        on_damage(_no_rows(without[0]), rows=0)


def _no_rows(path: Path) -> str:
    header = {".csv", ".tsv"} & {ending.lower() for ending in path.suffixes[-2:]}
    what = "a header and no rows" if header else "no rows"
    return f"{shown(path)}: it has {what}; add some, or change the path"


def _note_files(found: Found, name: str, ledger: Ledger) -> None:
    """Note how many files of each kind are read, if several are, and what is passed over."""
    kinds = Counter("".join(path.suffixes[-2:]) for path in found.files)
    for kind, files in kinds.items() if len(kinds) > 1 else ():
        ledger.note(name, f"files:{kind}", "", files)
    for why, paths in found.passed_over.items():
        ledger.note(name, f"passed_over:{why}", shown(paths[0].name), len(paths))


def _hub(source: SourceConfig) -> Iterator[LocatedRow]:
    """Rows of a data set of the hub, or of a local folder; streamed if the source has a limit."""
    import datasets  # 0.6 s, not needed for files

    name, number = f"hub data set {source.hub}", 0
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
            yield f"{name}: row {number:,}", as_json_value(row)
    except Exception as error:  # the library raises some twenty types, all of them about the data
        first = first_line(error)
        raise DataError(
            f"{name}, split {source.split!r}: {type(error).__name__}: {first}"
        ) from error
    if not number:
        raise DataError(f"{name}, split {source.split!r}: it has no rows; name another `split`")


def file_of(place: str) -> str:
    """The name of the file in a place: "web.jsonl" of "data/web.jsonl:17"."""
    return Path(re.sub(r":( row)? ?[\d,]+$", "", place)).name


def _without(row: dict[str, Any], ignore: list[str] | None, found: set[str]) -> dict[str, Any]:
    """The row without the columns, and the keys of its messages, that the source ignores.

    `found` gets the names of those that it has.
    """
    if not ignore:
        return row
    found.update(key for key in ignore if key in row)
    kept = {key: value for key, value in row.items() if key not in ignore}
    for key, value in kept.items():
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            kept[key] = [_without(m, ignore, found) if isinstance(m, dict) else m for m in value]
    return kept


def _rename(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    if not columns:
        return row
    for theirs, ours in columns.items():
        if theirs not in row:
            there = named(row)
            raise DataError(f"no column {theirs!r} to rename; it has: {there}")
        if ours in row and ours not in columns and said(row[ours]):
            raise DataError(
                f"column {theirs!r} cannot be renamed to {ours!r}: the row has such a column; set "
                f"`ignore: [{ours}]` on the source, or rename it too"
            )
    renamed = {columns[key]: value for key, value in row.items() if key in columns}
    return {key: value for key, value in row.items() if key not in columns} | renamed


def _with_id(row: dict[str, Any], place: str) -> dict[str, Any]:
    given = row.get("id")
    made = Path(place).name.replace(": row ", ":").replace(",", "") if given is None else str(given)
    return {**row, "id": made}


def _labelled(row: dict[str, Any], name: str, place: str) -> Example:
    example, own = Example(row, place), row.get("source")
    if own is not None and own != name and "origin" not in row:
        example["origin"] = own
    example["source"] = name
    return example

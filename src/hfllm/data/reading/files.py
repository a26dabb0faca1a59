"""Find the files that a source names; where there is none, say what was probably meant."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

from hfllm.data.errors import DataError
from hfllm.data.reading.file_readers import READERS, suffix
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.did_you_mean import first_missing, near_path
from hfllm.recipe.model_names import how_to_get

Resolve = Callable[[str], Path]  # name of a step -> the data folder it writes


def find_files(source: SourceConfig, resolve: Resolve) -> list[Path]:
    """The files of a `path` or `step` source, sorted; DataError where there is none."""
    if source.step:
        folder = resolve(source.step)
        if not folder.is_dir():
            raise DataError(
                f"step {source.step!r} has written nothing yet (no folder {folder}): run it first"
            )
        return _expand(str(folder / (source.file or _default_file(source.step, folder))))
    if not source.path:
        raise DataError("the source sets none of `step`, `path` and `hub`")
    return _expand(os.path.expanduser(source.path))


def _default_file(step: str, folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if suffix(p) in READERS)
    if "kept.jsonl" in names:
        return "kept.jsonl"
    if len(names) != 1:
        there = ", ".join(names) or "it has none"
        raise DataError(f"say with `file:` which file of step {step!r} to read: {there}")
    return names[0]


def _expand(pattern: str) -> list[Path]:
    """A file, the readable files below a folder, or the matches of a glob."""
    path = Path(pattern)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if suffix(p) in READERS and p.is_file())
        if not found:
            raise DataError(f"no readable file below {pattern} (readable: {' '.join(READERS)})")
        return found
    found = (
        [path]
        if path.exists()
        else [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    )
    if not found:
        raise DataError(f"no file {pattern}{_hint(path)}")
    for each in found:
        if suffix(each) not in READERS:
            ending = each.suffix or "a file without ending"
            raise DataError(f"{each}: cannot read {ending} (readable: {' '.join(READERS)})")
    return found


def _hint(path: Path) -> str:
    """What was probably meant, from the names where the path goes wrong; else what to do."""
    if near := near_path(path):
        return f"; did you mean {near}?"
    wrong = first_missing(path)
    if wrong == path:
        return f"; {path.parent} does not hold it"
    if made := how_to_get(path):
        return made
    return f"; there is no folder {wrong}: get the data (README.md, Data) or change the path"

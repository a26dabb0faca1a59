"""Find the files of a source: of a `path` (a file, a folder or a glob), or of a `step`.

Of a folder all files in it and in its subfolders are read, through links, each once, but hidden
ones (a notebook's copies, caches), cards (README, LICENSE) and endings without a reader: these are
counted, and the step says so. A file that is named by its path is read or refused. If there is no
file, the error suggests a similar name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hfllm.data.ledger import DataError
from hfllm.data.reading.files import READABLE, Resolve, is_readable
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.did_you_mean import first_missing, near_path
from hfllm.recipe.model_names import how_to_get
from hfllm.recipe.paths import matches, shown, user_path, walk

CARDS = ("readme", "license", "licence", "copying", "citation", "dataset_info", "dataset_infos")


@dataclass
class Found:
    """The files of a source, and those that were passed over, by the reason."""

    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, path: Path, root: Path) -> None:
        """Add a file that was found below `root`, or pass it over."""
        inside = path.relative_to(root).parts  # none, if the path itself was named
        if any(part.startswith(".") for part in inside):
            self._pass("hidden", path)
        elif not path.is_file():
            self._pass("broken links" if path.is_symlink() else "no files", path)
        elif path.name.split(".")[0].lower() in CARDS:
            self._pass("cards", path)
        elif not is_readable(path):
            self._pass(path.suffix or "without ending", path)
        else:
            self.files.append(path)

    def read_each_once(self) -> None:
        """Sort the files; of one that has several names, by links, the file's own is read."""
        names: dict[Path, Path] = {}
        for path in sorted(set(self.files), key=lambda path: (path.is_symlink(), path)):
            if names.setdefault(path.resolve(), path) is not path:
                self._pass("links to files that are read", path)
        self.files = sorted(names.values())
        for why, paths in self.passed_over.items():  # a glob may match a folder and what is in it
            self.passed_over[why] = list(dict.fromkeys(paths))

    def _pass(self, why: str, path: Path) -> None:
        self.passed_over.setdefault(why, []).append(path)

    def said(self) -> str:
        """(passed over: 2 hidden, 1 .pdf), or nothing."""
        counts = ", ".join(f"{len(paths):,} {why}" for why, paths in self.passed_over.items())
        return f" (passed over: {counts})" if counts else ""


def find_files(source: SourceConfig, resolve: Resolve) -> list[Path]:
    """The files of a `path` or `step` source, sorted; DataError if there is none."""
    return find(source, resolve).files


def find(source: SourceConfig, resolve: Resolve) -> Found:
    """The files of a source, and what is passed over; DataError if none is left."""
    if source.step:
        folder = resolve(source.step)
        if not folder.is_dir():
            raise DataError(
                f"step {source.step!r} has written nothing yet (no folder {folder}); run it first"
            )
        return _expand(str(folder / (source.file or _default_file(source.step, folder))))
    if not source.path:
        raise DataError("the source sets none of `step`, `path` and `hub`")
    return _expand(user_path(source.path))


def _default_file(step: str, folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if is_readable(p))
    if "kept.jsonl" in names:
        return "kept.jsonl"
    if len(names) != 1:
        there = ", ".join(names) or "it has none"
        raise DataError(f"set `file:` to say which file of step {step!r} to read: {there}")
    return names[0]


def _expand(pattern: str) -> Found:
    """A file, the files of a folder, or the matches of a glob (folders among them as folders)."""
    path, found = Path(pattern), Found()
    try:
        if path.is_dir():
            _add_folder(path, found)
        elif path.exists():
            _add_named(path, found)
        else:
            for match in _matches(pattern, path):
                if match.is_dir():
                    _add_folder(match, found)
                else:
                    found.add(match, match)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        what = f"{shown(path)}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise DataError(what) from None
    if not found.files:
        raise DataError(f"no readable file in {shown(pattern)}{found.said()} {READABLE}")
    found.read_each_once()
    for file in found.files:
        if not os.access(file, os.R_OK):
            raise DataError(f"{shown(file)}: may not be read; change its permissions")
    return found


def _add_folder(folder: Path, found: Found) -> None:
    for path in walk(folder):
        found.add(path, folder)


def _add_named(path: Path, found: Found) -> None:
    """Add a file that the source names itself: it must be readable."""
    if not path.is_file():
        raise DataError(f"{shown(path)}: neither a file nor a folder (a pipe or device); name one")
    if not is_readable(path):
        ending = path.suffix or "a file without ending"
        raise DataError(f"{shown(path)}: cannot read {ending} {READABLE}; convert it")
    found.files.append(path)


def _matches(pattern: str, path: Path) -> list[Path]:
    found = matches(pattern)
    if not found or path.is_symlink():  # a link that exists was taken before
        raise DataError(f"no file {shown(pattern)}{_hint(path)}")
    return found


def _hint(path: Path) -> str:
    """The end of the message for a missing path: a similar name that exists, else what to do."""
    if path.is_symlink():
        return "; it is a link to a place that does not exist (any more), or to itself"
    unset = [part for part in path.parts if part.startswith("$")]
    if unset:
        return f"; the variable {unset[0]} is not set"
    if near := near_path(path):
        return f"; did you mean {near}?"
    wrong = first_missing(path)
    if wrong == path:
        return f"; it is not in {path.parent}, change the path"
    if made := how_to_get(path):
        return made
    return f"; there is no folder {wrong}: get the data (docs/your-data.md) or change the path"

"""Paths as a user writes them: `~`, `$HOME`, globs, folders with links, brackets in names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


def user_path(text: str) -> str:
    """A path with `~` and set `$VARIABLES` expanded; one that exists as it is written is kept."""
    return text if os.path.lexists(text) else os.path.expandvars(os.path.expanduser(text))


def matches(pattern: str) -> list[Path]:
    """What a glob matches, sorted; a part that exists as it is written ("data[1]") is no glob."""
    parts = Path(pattern).parts
    there = [n for n in range(1, len(parts) + 1) if os.path.lexists(Path(*parts[:n]))]
    literal = max(there, default=0)
    fixed = glob.escape(str(Path(*parts[:literal]))) if literal else ""
    return sorted(map(Path, glob.glob(str(Path(fixed, *parts[literal:])), recursive=True)))


def walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders, sorted, through links, each folder once.

    Raises:
        ValueError: a folder cannot be read.
    """
    seen: set[str] = set()

    def fail(error: OSError) -> None:
        raise ValueError(
            f"{error.filename}: {error.strerror or error}; change its rights, or the path"
        )

    for here, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to a folder above, or to one that was walked already
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(here, name) for name in sorted(files))


@lru_cache(maxsize=256)  # asked for every row
def shown(path: Path | str) -> str:
    """A path as one line of valid text: line ends and bytes that are no UTF-8 are replaced."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)

"""Where an export goes: never over something else unless asked, and only where it has room."""

from __future__ import annotations

import shutil
from pathlib import Path


def check_free(path: Path, force: bool) -> None:
    """Raise ValueError if something is at `path` already and `--force` was not given."""
    taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if (taken or path.is_symlink()) and not force:
        raise ValueError(f"--out {path} exists: name another, or replace it with --force")


def check_room(path: Path, size: int, what: str) -> None:
    """Say how large a file or folder becomes; ValueError if the disk has not the room for it."""
    above = next(parent for parent in path.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(above).free
    if free < 1.02 * size:
        raise ValueError(
            f"{above} has {free / 1e9:.1f} GB free, {what} needs {size / 1e9:.1f}: free some, name "
            "another --out, or take a smaller --dtype"
        )
    print(f"writing {path} ({what}, {size_in_words(size)})", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def size_in_words(size: int) -> str:
    """A number of bytes as kB, MB or GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def replace_folder(made: Path, out: Path) -> None:
    """Put a finished folder at `out`, in place of what is there."""
    old = made.with_name(f"{made.name}.old")
    if out.exists():
        out.rename(old)  # into the same temporary folder, which is removed
    made.rename(out)

"""Check before a run that the run folder can be written and has room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hfllm.recipe.recipe import Recipe

MIN_FREE_GB = 1.0


def disk_problems(recipe: Recipe) -> list[str]:
    """Why the run folder cannot be written, as one line, or nothing."""
    place = recipe.run_dir
    if (broken := _unusable_part(place)) is not None:
        return [f"run_dir: {broken}; set run_dir=OTHER"]
    while not place.exists():
        place = place.parent
    if not _writable(place):
        return [f"run_dir: {place} cannot be written; set run_dir=OTHER"]
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < MIN_FREE_GB:
        return [
            f"run_dir: {free_gb:.2f} GB free on the disk of {place}, at least {MIN_FREE_GB:.0f} GB "
            "is needed; free some space, or set run_dir=OTHER"
        ]
    return []


def _unusable_part(place: Path) -> str | None:
    """A part of a path that is a link to nowhere, or too long for a file system; None if none."""
    for part in (place, *place.parents):
        if len(part.name.encode()) > 255:
            return f"{part.name[:20]}... has {len(part.name.encode())} bytes, a name at most 255"
        if part.is_symlink() and not part.exists():
            return f"{part} is a link to {part.readlink()}, which is not there"
    return None


def _writable(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK)

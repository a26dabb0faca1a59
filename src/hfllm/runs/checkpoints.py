"""Detect incomplete checkpoints: complete.json is written last, with the size of every file.

transformers writes a checkpoint in place and resumes from the highest number: a kill during a save
leaves a folder that looks complete, and without its optimizer.pt training silently continues with
a new optimizer. So training writes complete.json after each save, a list of the files with their
sizes. A run resumes from the newest checkpoint whose files all have these sizes
(`newest_complete`); newer incomplete ones are reported, and removed before training.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from hfllm.runs.manifest import write_atomically

MARKER = "complete.json"


def mark_complete(checkpoint: Path) -> None:
    """Sync every file of a checkpoint to disk (fsync), then write the marker."""
    files = {}
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != MARKER):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[str(path.relative_to(checkpoint))] = path.stat().st_size
    write_atomically(checkpoint / MARKER, json.dumps(files, indent=1))


def why_incomplete(checkpoint: Path) -> str | None:
    """Why a checkpoint is incomplete; None if it is complete."""
    marker = checkpoint / MARKER
    if not marker.is_file():
        return "it was interrupted while it was written"
    try:
        files = json.loads(marker.read_text())
    except ValueError:
        return f"its {MARKER} is broken"
    for name, size in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, {size} were written"
    return None


def newest_complete(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest complete checkpoint or None, and a note on every newer incomplete one."""
    notes: list[str] = []
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        problem = why_incomplete(checkpoint)
        if problem is None:
            return checkpoint, notes
        notes.append(f"{checkpoint} is not used: {problem}")
    return None, notes


def step_of(checkpoint: Path) -> int:
    """The optimizer step in the name checkpoint-STEP; -1 for another name."""
    number = checkpoint.name.rsplit("-", 1)[-1]
    return int(number) if number.isdigit() else -1


def remove_incomplete(folder: Path) -> None:
    """Remove incomplete checkpoints, so that rotation (save_total_limit) does not count them."""
    for checkpoint in folder.glob("checkpoint-*"):
        if why_incomplete(checkpoint) is not None:
            shutil.rmtree(checkpoint)

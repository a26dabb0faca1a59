"""Move an old step folder aside before the step is made anew, and back where it fits again.

A finished one is renamed to STEP.stale-FINGERPRINT, and the newest such copy is kept, so that a
changed key does not overwrite a model that took hours to train. A folder whose step never finished,
or that lost a file since, is no such copy and displaces none: it is kept as
STEP.unfinished-FINGERPRINT (the newest one), or removed if it never finished and has no checkpoint.
Nothing outside the run folder is moved or removed: a link that stands for a step's folder is itself
renamed or unlinked, never what it points to.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hfllm.runs.fingerprint import step_fingerprint
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.outputs import is_whole
from hfllm.runs.status import remade_parent, status

FINISHED, UNFINISHED, RESTORING = "stale", "unfinished", "restoring"


def set_aside(step: Step) -> str:
    """Move the step's folder aside; returns the rest of a sentence on where the old one is now."""
    _check_inside(step, step.folder)
    if not _exists(step.folder):
        return "there is no old one"
    manifest = _manifest(step.folder)
    if manifest is not None and is_whole(step.folder, manifest):
        return f"the old one is in {_move(step, FINISHED, manifest.fingerprint)}"
    copies = _copies(step, FINISHED)
    kept = f"; the last finished one stays in {copies[-1]}" if copies else ""
    was_done = manifest is not None and manifest.status == "done"  # a file was lost since
    if was_done or any(step.checkpoints.glob("checkpoint-*")):
        mark = manifest.fingerprint if manifest else "unknown"
        return f"the old one, not whole, is in {_move(step, UNFINISHED, mark)}{kept}"
    _remove(step, step.folder)
    return f"the old one never finished and is removed{kept}"


def restore(step: Step) -> Path | None:
    """Put back a finished copy that the keys, files and parents of now have made; None if none is.

    Only where the step's folder holds a stale or failed attempt, which is set aside then. Returns
    where the copy was.
    """
    interrupted = _take_back(step)
    if status(step).state not in ("stale", "failed") and not (
        interrupted and not _exists(step.folder)
    ):
        return None
    copy = _copy(step, FINISHED, step_fingerprint(step.recipe, step.name))
    manifest = _manifest(copy)
    if manifest is None or not is_whole(copy, manifest) or remade_parent(step, manifest):
        return None
    moved = _copy(step, RESTORING, manifest.fingerprint)
    copy.rename(moved)  # set_aside keeps one copy, and must not remove this one
    set_aside(step)
    moved.rename(step.folder)
    return copy


def _take_back(step: Step) -> bool:
    """Give finished copies whose `restore` was killed halfway their name; whether there are any."""
    found = _copies(step, RESTORING)
    for path in found:
        target = _copy(step, FINISHED, path.name.partition(f".{RESTORING}-")[2])
        if _exists(target):
            _remove(step, path)
        else:
            path.rename(target)
    return bool(found)


def _move(step: Step, kind: str, mark: str) -> Path:
    target = _copy(step, kind, mark)
    if _exists(target):
        _remove(step, target)
    step.folder.rename(target)
    for path in _copies(step, kind):
        if path != target:
            _remove(step, path)
    return target


def _copy(step: Step, kind: str, mark: str) -> Path:
    return step.folder.with_name(f"{step.name}.{kind}-{mark}")


def _copies(step: Step, kind: str) -> list[Path]:
    """The copies of a kind, the newest last."""
    found = step.folder.parent.glob(f"{step.name}.{kind}-*")
    return sorted(found, key=lambda path: path.lstat().st_mtime_ns)


def _remove(step: Step, path: Path) -> None:
    """Remove a folder of the step; of a link only the link."""
    _check_inside(step, path)
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def _check_inside(step: Step, path: Path) -> None:
    """Recipe loading refuses names that lead out of the run folder; nothing is moved on trust."""
    name = path.name.partition(".")[0]
    inside = path.parent.resolve() == step.recipe.run_dir.resolve()
    assert inside and name and name == step.name, f"{path} is no folder of step '{step.name}'"


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None if there is none, or a broken one."""
    try:
        return Manifest.read(folder / "manifest.json")
    except ValueError:
        return None

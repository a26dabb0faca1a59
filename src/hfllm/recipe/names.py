"""Check names that become folders: of a run (`name:`), of its steps, and the folder `run_dir:`.

A step's folder is run_dir/name/STEP, and a stale one is renamed beside it and later removed. So a
step's name must not lead out of the run folder, nor differ from another's only in case (one folder
on macOS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 100  # file systems allow 255, and suffixes are added
WORD = re.compile(r"\w[\w-]*")  # no dot: overrides are written step.key=value


def step_name_problem(name: Any) -> str | None:
    """What is wrong with a step's name, as one line, or None."""
    if not isinstance(name, str):
        return f"a step's name is text, and YAML reads this one as {name!r}: quote it, or rename it"
    if not WORD.fullmatch(name):
        return "a step's name consists of letters, digits, _ and - (it names a folder); rename it"
    if len(name.encode()) > MAX_BYTES:
        return f"a step's name has at most {MAX_BYTES} bytes; rename it"
    return None


def case_clashes(names: Iterable[str]) -> Iterator[str]:
    """One line for each name that differs from an earlier one only in case."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield f"{name}: differs from the step '{first}' only in case; rename one of them"


def run_name_problem(name: Any) -> str | None:
    """What is wrong with `name:`, as one line, or None."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        return f"name: {name!r} must be a plain folder name; if it is meant so, quote it"
    text = str(name)
    if "/" in text or text.startswith((".", "~", "-")) or not text.isprintable():
        return f"name: {name!r} must be a plain folder name (set run_dir for the place)"
    if len(text.encode()) > MAX_BYTES:
        return f"name: has {len(text.encode())} bytes, at most {MAX_BYTES} are allowed"
    return None


def run_dir_problem(run_dir: Any) -> str | None:
    """What is wrong with `run_dir:`, as one line, or None."""
    if run_dir is None:
        return None
    if not isinstance(run_dir, str) or not run_dir.strip() or "\0" in run_dir:
        return f"run_dir: {run_dir!r} is not a folder's path"
    try:
        Path(run_dir).expanduser()
    except RuntimeError:
        return f"run_dir: {run_dir}: no such user; write the whole path"
    return None

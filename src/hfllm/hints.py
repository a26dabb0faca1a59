"""What a user meant: the near miss behind an error line, the kind of a model's name; all light."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

OUR_FOLDERS = ("models", "runs")  # what `make model` and a run write: no owners on the hub
_OWNER_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return " Did you mean: 'NAME'?" where one of the names is near, else ""."""
    near = difflib.get_close_matches(word, list(names), n=1)
    return f" Did you mean: '{near[0]}'?" if near else ""


def near_path(path: Path) -> Path | None:
    """Return the existing path that was probably meant, mending the first part that is wrong.

    None where no name beside it is near.
    """
    wrong = first_missing(path)
    if not wrong.parent.is_dir():
        return None
    names = [p.name for p in wrong.parent.iterdir() if not p.name.startswith(".")]
    close = difflib.get_close_matches(wrong.name, names, n=1)
    return wrong.parent / close[0] / path.relative_to(wrong) if close else None


def first_missing(path: Path) -> Path:
    """Return the topmost part of the path that does not exist."""
    while path.parent != path and not path.parent.is_dir():
        path = path.parent
    return path


def how_to_get(reference: str | Path) -> str:
    """Return "; " and what writes a folder that is missing; "" where nothing of ours does."""
    parts = Path(reference).parts
    if len(parts) < 2 or parts[0] not in OUR_FOLDERS or Path(*parts[:2]).is_dir():
        return ""
    if parts[0] == "models":
        return "; `make model` fetches models/SmolLM2-135M-Instruct"
    return f"; run the recipe that writes {parts[0]}/{parts[1]} first"


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def model_name(folder: str | Path) -> str:
    """The name of a model folder in tables: runs/demo/sft/model is `sft`."""
    path = Path(folder)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def is_gguf(reference: str | Path) -> bool:
    """Whether a model reference names one of llama.cpp's files."""
    return Path(reference).suffix.lower() == ".gguf"


def is_hub_id(reference: str) -> bool:
    """Whether a model reference looks like a hub id (owner/name)."""
    owner = reference.partition("/")[0]
    if owner in OUR_FOLDERS or owner.startswith("."):
        return False
    return bool(_OWNER_NAME.fullmatch(reference))

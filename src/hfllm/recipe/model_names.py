"""Tell what a model reference names: a folder that hfllm writes, a .gguf file or a hub id."""

from __future__ import annotations

import re
from pathlib import Path

OUR_FOLDERS = ("models", "runs")  # written by `make model` and by runs; not read as hub owners
_OWNER_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def how_to_get(reference: str | Path) -> str:
    """Return "; " and the command that writes a missing folder, or "" if hfllm has none."""
    parts = Path(reference).parts
    if len(parts) < 2 or parts[0] not in OUR_FOLDERS or Path(*parts[:2]).is_dir():
        return ""
    if parts[0] == "models":
        return "; `make model` fetches models/SmolLM2-135M-Instruct"
    return f"; run the recipe that writes {parts[0]}/{parts[1]} first"


def model_name(folder: str | Path) -> str:
    """The name of a model folder in tables: that of runs/demo/sft/model is `sft`."""
    path = Path(folder)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def is_gguf(reference: str | Path) -> bool:
    """Whether a model reference is a file in llama.cpp's GGUF format, by its suffix."""
    return Path(reference).suffix.lower() == ".gguf"


def is_hub_id(reference: str) -> bool:
    """Whether a model reference has the form of a hub id (owner/name)."""
    owner = reference.partition("/")[0]
    if owner in OUR_FOLDERS or owner.startswith("."):
        return False
    return bool(_OWNER_NAME.fullmatch(reference))


def names_hub(reference: str) -> bool:
    """Whether a model reference is to be fetched from the hub: of its form, and no folder here."""
    path = Path(reference)
    return is_hub_id(reference) and not path.exists() and not path.parent.is_dir()

"""Read a recipe's YAML file and its overrides into plain dicts and lists.

OmegaConf's loader refuses duplicate keys and reads 1e-3 as a number, which YAML 1.1 does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import RecipeError, first_line

NOT_A_MAPPING = "a recipe is a mapping of steps; this file is not a mapping"


def read_yaml(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The recipe as plain dicts and lists, overrides merged and interpolations resolved."""
    config = _load(path)
    changes = [parse_override(item, path) for item in overrides]
    key = ""
    try:
        for key, value in changes:
            OmegaConf.update(config, key, value, merge=True)
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except (OmegaConfBaseException, TypeError, ValueError, AssertionError) as error:
        raise RecipeError(path, [_at_key(error, key)]) from None


def _load(path: Path) -> Any:
    """The file as an OmegaConf mapping."""
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("configs")
        hint = did_you_mean(path.name, [p.name for p in folder.glob("*.yaml") if p.is_file()])
        what = "a folder, not a recipe file" if path.is_dir() else "no such recipe file"
        raise RecipeError(path, [f"{what}.{hint}"])
    try:
        config = OmegaConf.load(path)
    except yaml.YAMLError as error:
        raise RecipeError(path, [_not_yaml(error, path)]) from None
    except UnicodeDecodeError as error:
        what = f"not UTF-8 (byte {error.start}: 0x{error.object[error.start]:02x})"
        raise RecipeError(path, [f"{what}; save the file as UTF-8"]) from None
    except OSError as error:  # OmegaConf raises one without a number for a file of one scalar
        scalar = error.errno is None
        raise RecipeError(path, [NOT_A_MAPPING if scalar else f"cannot be read: {error}"]) from None
    except (OmegaConfBaseException, ValueError) as error:
        raise RecipeError(path, [_at_key(error, "")]) from None
    if not OmegaConf.is_dict(config):
        raise RecipeError(path, [NOT_A_MAPPING])
    return config


def _not_yaml(error: yaml.YAMLError, path: Path) -> str:
    """One line on a syntax error: its place, what it is, and what to do about a tab."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or first_line(error)
    if mark is None:
        return f"not valid YAML: {what}"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        what = "the line is indented with a tab; use spaces"
    return f"line {mark.line + 1}: not valid YAML: {what}"


def _at_key(error: Exception, key: str) -> str:
    """`key: what is wrong`, as far as OmegaConf's error names the key."""
    where = getattr(error, "full_key", None) or key
    line = first_line(error)
    if "NoneType" in line and "key type" in line:
        line = "a key is empty or ~; write its name"
    return f"{where}: {line}" if where else line


def parse_override(item: str, path: Path | str = "") -> tuple[str, Any]:
    """`step.key=value` -> (dotted key, value read as YAML); RecipeError if it has another form."""
    key, equals, text = item.partition("=")
    if not equals or item.startswith("-") or not all(key.split(".")):
        raise RecipeError(path, [f"override {item!r} is not of the form step.key=value"])
    try:
        return key, OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index, call-overload]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        what = getattr(error, "problem", None) or first_line(error)
        raise RecipeError(
            path, [f"override {item!r}: the value is not valid YAML: {what}"]
        ) from None

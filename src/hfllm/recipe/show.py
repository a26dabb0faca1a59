"""`hfllm show`: the resolved recipe, one line per value, with its origin.

Origins, later wins: library default, hfllm default (with its reason), this machine, chosen for the
step's model (with its reason), recipe, override. The library defaults of `trainer:` sections, more
than 100 lines a step, are left out unless asked for.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import yaml

from hfllm.recipe.read_yaml import parse_override
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.trainers import (
    build_trainer_config,
    check_trainers,
    hardware_defaults,
    installed_key,
    launch_asks,
)

LIBRARIES = ("trl.", "transformers.", "builtins")


def show_recipe(recipe: Recipe, step: str | None = None, everything: bool = False) -> Iterator[str]:
    """Yield the lines of `hfllm show`.

    Args:
        recipe: a checked recipe.
        step: show this step alone.
        everything: include unset keys and library defaults.

    Raises:
        ValueError: the recipe has no such step.
        RecipeError: a `trainer:` section is wrong.
    """
    if step is not None and step not in recipe.steps:
        raise ValueError(recipe.no_such_step(step))
    names = [step] if step else list(recipe.steps)
    check_trainers(recipe, names)
    yield f"# {recipe.path} -> {recipe.run_dir}, seed {recipe.seed}"
    for name in names:
        yield ""
        yield from _step(recipe, recipe.steps[name], everything)


def _step(recipe: Recipe, spec: StepSpec, everything: bool) -> Iterator[str]:
    reads = f"  # reads {', '.join(spec.parents)}" if spec.parents else ""
    yield f"{spec.name}:  # stage {spec.stage.name}{reads}"
    values = dataclasses.asdict(spec.config)
    values.pop("trainer", None)
    given = _flat(spec.given)
    changed = _overridden(recipe)
    for key, value in _flat(values).items():
        default = f"implied: {spec.implied[key]}" if key in spec.implied else "hfllm default"
        origin = _origin(f"{spec.name}.{key}", key, changed, given, default)
        if origin != "hfllm default" or everything or value is not None:
            yield _line(key, value, origin)
    if spec.stage.trains:
        yield from _trainer(recipe, spec, changed, everything)


def _trainer(
    recipe: Recipe, spec: StepSpec, changed: dict[str, Any], everything: bool
) -> Iterator[str]:
    config = build_trainer_config(
        spec, recipe.seed, str(recipe.run_dir / spec.name / "checkpoints")
    )
    names, prefix = vars(config), f"{spec.name}.trainer."
    changed = {
        prefix + installed_key(k.removeprefix(prefix), names) if k.startswith(prefix) else k: v
        for k, v in changed.items()
    }
    ours = {installed_key(key, names): default for key, default in spec.stage.defaults.items()}
    given = {f"trainer.{installed_key(k, names)}": v for k, v in spec.config.trainer.items()}
    machine = hardware_defaults()
    asks = {one.key: one.where for one in launch_asks(spec)}
    own = own_defaults(type(config))
    yield f"  trainer:  # {str(spec.stage.trainer).replace(':', '.')}"
    for item in dataclasses.fields(config):
        key = item.name
        default = f"hfllm default: {ours[key][1]}" if key in ours else "library default"
        default = f"hfllm default: {own[key]}" if key in own and key not in ours else default
        default = "this machine" if key in machine else default
        default = f"chosen: {spec.chosen[key][1]}" if key in spec.chosen else default
        default = f"launch: {asks[key]}" if key in asks else default
        origin = _origin(f"{spec.name}.trainer.{key}", f"trainer.{key}", changed, given, default)
        if origin != "library default" or everything:
            yield _line(f"trainer.{key}", getattr(config, key), origin)


def own_defaults(config: type) -> dict[str, str]:
    """{key: help} of the fields that a trainer class of hfllm, or of the user, defines itself."""
    classes = [c for c in config.__mro__ if not c.__module__.startswith(LIBRARIES)]
    return {
        item.name: str(item.metadata.get("help", f"of {config.__name__}"))
        for item in dataclasses.fields(config)
        if any(item.name in vars(c).get("__annotations__", ()) for c in classes)
    }


def _origin(
    full: str, key: str, changed: dict[str, Any], given: dict[str, Any], default: str
) -> str:
    """`full` is the key with its step, as in overrides; `key` the one inside the step."""
    if any(k == full or k.startswith(f"{full}.") or full.startswith(f"{k}.") for k in changed):
        return "override"
    if any(k == key or k.startswith(f"{key}.") or key.startswith(f"{k}.") for k in given):
        return "recipe"
    return default


def _overridden(recipe: Recipe) -> dict[str, Any]:
    """The overrides' keys, flattened; `key[0]` becomes `key.0`, so it marks the whole list."""
    out: dict[str, Any] = {}
    for item in recipe.overrides:
        key, value = parse_override(item, recipe.path)
        out |= _flat({re.sub(r"\[(\w+)\]", r".\1", key): value})
    return out


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; a list stays one value."""
    out: dict[str, Any] = {}
    for key, value in (tree or {}).items():
        full = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{full}.")
        else:
            out[full] = _short(value)
    return out


def _short(value: Any) -> Any:
    """Leave the unset keys of the sources in a list out."""
    if isinstance(value, list):
        return [_short(v) for v in value]
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items() if v not in (None, {}, [])}
    return value


def _line(key: str, value: Any, origin: str) -> str:
    text = f"  {key}: {as_yaml(value)}"
    return f"{text:<60}  # {origin}"


def as_yaml(value: Any) -> str:
    """A value in one line, as a recipe would take it; what YAML has no words for as Python's."""
    plain = _plain(value)
    try:
        text = yaml.safe_dump(
            plain,
            default_flow_style=True,
            width=math.inf,
            allow_unicode=True,
            sort_keys=False,
        )
    except yaml.YAMLError:
        return str(value)
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    """Enumerations by their value, whole numbers without ".0", at any depth."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value

"""Convert a step's section into its typed config; every wrong key is reported with its full path.

The section is merged into the dataclass in one call. If that fails, each level is merged into its
own dataclass key by key, because OmegaConf stops at the first error and, inside lists, names only
the last part of the key.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hfllm.recipe.errors import first_line
from hfllm.recipe.spelling import Spelling, leaves, other_number

COMPARED = "compared with data"  # in the metadata of a field whose values are


def typed_config(
    name: str, schema: type, given: dict[str, Any], spelling: Spelling
) -> tuple[Any, list[str]]:
    """Convert the keys of a step into an instance of its config dataclass.

    Args:
        name: the step's name, with which each problem begins.
        schema: the dataclass.
        given: the keys that are set, as dicts and lists.
        spelling: how their values are written.

    Returns:
        The config (None if there is a problem), and the problems, one line each.
    """
    if misread := list(_misread(name, schema, given, spelling)):
        return None, misread
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), given)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        return None, list(_wrong(name, schema, given)) or [f"{name}: {first_line(error)}"]
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        return None, [f"{name}.{key}: must be set" for key in missing]
    return OmegaConf.to_object(merged), []


def _misread(where: str, schema: type, given: Any, spelling: Spelling) -> Iterator[str]:
    """One line for each text that YAML reads as something else: `no` (Norwegian), 010, 1:30."""
    hints, fields = get_type_hints(schema), getattr(schema, "__dataclass_fields__", {})
    for key, value in given.items() if isinstance(given, dict) else ():
        container, inside = _shape(hints.get(key))
        parts = {"": value}
        if isinstance(value, dict) and container is dict:
            parts = {f".{name}": item for name, item in value.items()}
        elif isinstance(value, list):
            parts = {f"[{number}]": item for number, item in enumerate(value)}
        if inside is not None:
            for place, item in parts.items():
                yield from _misread(f"{where}.{key}{place}", inside, item, spelling)
        elif _is_text(hints.get(key)):
            if any(isinstance(item, bool) for item in parts.values()):
                yield (
                    f"{where}.{key}: must be text, not true or false: YAML reads no, off, yes and "
                    "on so; put the word in quotes"
                )
            yield from misread_numbers(f"{where}.{key}", value, spelling)
        elif key in fields and COMPARED in fields[key].metadata:
            yield from misread_numbers(f"{where}.{key}", value, spelling, "; or write {}")


def misread_numbers(
    where: str, value: Any, spelling: Spelling, otherwise: str = ""
) -> Iterator[str]:
    """One line for each number whose own spelling YAML has changed.

    `otherwise`: what else there is to do than to quote it; {} is the number.
    """
    for key, leaf in leaves(where, value):
        if written := other_number(spelling, key, leaf):
            what = f"YAML reads {written} as the number {leaf}; put it in quotes"
            yield f"{key}: {what}{otherwise.format(leaf)}"


def _is_text(hint: Any) -> bool:
    """Whether a type is text, or a list or mapping of texts, and takes no true or false."""
    kinds = {hint, *get_args(hint)}
    kinds |= {inner for kind in kinds for inner in get_args(kind)}
    return str in kinds and not kinds & {bool, Any}


def key_problem(schema: Any, key: Any, value: Any) -> str | None:
    """OmegaConf's message if `key: value` cannot be merged into a structured config, else None."""
    try:
        OmegaConf.merge(schema, {key: value})
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        return first_line(error)
    return None


def _wrong(where: str, schema: type, given: Any) -> Iterator[str]:
    """One line for each wrong key below `given`; `where` is the path that led there."""
    if not isinstance(given, dict):
        yield f"{where}: must be a mapping, not {given!r}"
        return
    hints, empty = get_type_hints(schema), OmegaConf.structured(schema)
    for key, value in given.items():
        below = f"{where}.{key}"
        container, inside = _shape(hints.get(key))
        if value is None or (container is None and inside is None):
            problem = key_problem(empty, key, value)
            if problem:
                yield f"{below}: {problem}"
        elif container is None:
            yield from _wrong(below, inside, value)
        elif not isinstance(value, container):
            kind = "a list" if container is list else "a mapping"
            yield f"{below}: must be {kind}, not {value!r}"
        elif inside is None:
            problem = key_problem(empty, key, value)
            if problem:
                yield f"{below}: {problem}"
        else:
            items = enumerate(value) if isinstance(value, list) else value.items()
            for at, item in items:
                place = f"{below}[{at}]" if container is list else f"{below}.{at}"
                yield from _wrong(place, inside, item)


def _shape(hint: Any) -> tuple[Any, Any]:
    """A field's type as (list, dict or None; the dataclass inside it or None)."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(a for a in get_args(hint) if a is not type(None))
    container = get_origin(hint) if get_origin(hint) in (list, dict) else None
    inside = get_args(hint)[-1] if container else hint
    return container, inside if dataclasses.is_dataclass(inside) else None

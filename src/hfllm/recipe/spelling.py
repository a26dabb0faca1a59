"""How the values of a recipe are spelled: YAML reads 010 as 8, 1.10 as 1.1 and 1:30 as 90.

Where a value is text (a name, a path) or is compared with the text of data (`where`), the user's
own spelling counts, which the number has lost. Such a number is refused (typed_config.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Spelling = dict[str, str]  # a key in full, "sft.data.mixture[0].name" -> its value as it is written
REFERENCE = re.compile(r"\$\{([^{}:]+)\}")  # an interpolation that is the whole value


def spelling_of(path: Path, overrides: list[str]) -> Spelling:
    """The scalars of a recipe that `read_yaml` could read, as they are written."""
    found = dict(_scalars(yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), ""))
    for item in overrides:
        key, _, text = item.partition("=")
        found |= dict(_scalars(yaml.compose(text, yaml.SafeLoader), _in_full(key)))
    return found


def other_number(spelling: Spelling, key: str, value: Any) -> str | None:
    """The user's own text, if `value` is a number of another spelling; else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    written = _written(spelling, key)
    return None if written in (None, str(value)) else written


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside lists and mappings, with their keys in full."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(f"{key}[{number}]", inner)
    else:
        yield key, value


def _in_full(key: str) -> str:
    """a.0.b as a[0].b: an override may name the item of a list in both ways."""
    return re.sub(r"\.(\d+)(?=[.\[]|$)", r"[\1]", key)


def _scalars(node: yaml.Node | None, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.ScalarNode):
        yield key, node.value
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _scalars(item, f"{key}[{number}]")
    elif isinstance(node, yaml.MappingNode):
        merged = [value for name, value in node.value if _is_merge(name)]
        for value in merged:  # the mapping's own keys win, then those of the first
            several = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for one in reversed(several):
                yield from _scalars(one, key)
        for name, value in node.value:
            if not _is_merge(name):
                yield from _scalars(value, f"{key}.{name.value}" if key else str(name.value))


def _is_merge(name: yaml.Node) -> bool:
    return bool(name.tag == "tag:yaml.org,2002:merge")


def _written(spelling: Spelling, key: str) -> str | None:
    """The text of a key, through references to other keys (${vars.x})."""
    for end in [len(key), *(at.start() for at in reversed([*re.finditer(r"[.\[]", key)]))]:
        text = spelling.get(key[:end])
        if text is not None and (reference := REFERENCE.fullmatch(text)):
            return _written(spelling, _in_full(reference[1]) + key[end:])
        if text is not None:
            return text if end == len(key) else None
    return None

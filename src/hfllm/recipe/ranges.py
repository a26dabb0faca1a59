"""Ranges of numeric keys, declared once for each key, checked before a run.

A key of a step's config declares its range on its field (`within(AT_LEAST_1, 32)`). Those of
transformers' TrainingArguments are in trainer_values.py, those that a stage's trainer class adds in
the stage's `ranges`. NaN and infinity are in no range, and in no key of a recipe (`not_finite`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`; `above`, `below`: without that end itself."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether the number is finite and in the range."""
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        """In words: `1 or more`, `above 0`, `from 0 to 1`, `above 0 and below 1`."""
        if (self.least, self.most) == (-math.inf, math.inf):
            return "a finite number"
        if self.most == math.inf:
            return f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        if not (self.above or self.below):
            return f"from {self.least:g} to {self.most:g}"
        low = f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        return f"{low} and {'below' if self.below else 'at most'} {self.most:g}"


ANY = Range()
NOT_NEGATIVE = Range(0)
AT_LEAST_1 = Range(1)
ABOVE_0 = Range(0, above=True)
SHARE = Range(0, 1)
BELOW_1 = Range(0, 1, below=True)  # a share that leaves something
INSIDE_0_1 = Range(0, 1, above=True, below=True)
ABOVE_0_TO_1 = Range(0, 1, above=True)
SEED = Range(0, 2**32 - 1)


def within(allowed: Range, default: Any = dataclasses.MISSING) -> Any:
    """A config field for a number, or None where its type allows it, with its range."""
    return dataclasses.field(default=default, metadata={"range": allowed})


def problem_of(key: str, value: Any, allowed: Range) -> str | None:
    """One line on a number, or the first of a list, that is outside of a range, or None.

    None and what is no number are left to the type's own check.
    """
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, int | float) and not isinstance(item, bool) and item not in allowed:
            return f"{key}: must be {allowed}, not {item}"
    return None


def table_problems(values: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[str]:
    """One line for each of `values` that is outside of its range."""
    for key, allowed in ranges.items():
        if found := problem_of(key, values.get(key), allowed):  # a library may lack a key
            yield found


def range_problems(config: Any, prefix: str = "") -> Iterator[str]:
    """One line for each field of a config dataclass, at any depth, that is outside of its range."""
    for item in dataclasses.fields(config):
        yield from _walk(f"{prefix}{item.name}", getattr(config, item.name), item)


def _walk(key: str, value: Any, item: dataclasses.Field[Any]) -> Iterator[str]:
    if (allowed := item.metadata.get("range")) is not None:
        found = problem_of(key, value, allowed)
        yield from [found] if found else []
    elif dataclasses.is_dataclass(value):
        yield from range_problems(value, f"{key}.")
    elif isinstance(value, list):
        for number, element in enumerate(value):
            yield from _walk(f"{key}[{number}]", element, item)
    elif isinstance(value, dict):
        for name, element in value.items():
            yield from _walk(f"{key}.{name}", element, item)


def not_finite(key: str, value: Any) -> Iterator[str]:
    """One line for each number in nested dicts and lists that is NaN or infinite.

    Infinity may stand in a `model:` section: it is the default of some keys of transformers
    (Mamba-2's `time_step_limit`).
    """
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value) or "model" not in key.split("."):
            yield f"{key}: {value} is no finite number; write one, or leave the key out"
    elif isinstance(value, dict):
        for name, element in value.items():
            yield from not_finite(f"{key}.{name}" if key else str(name), element)
    elif isinstance(value, list):
        for number, element in enumerate(value):
            yield from not_finite(f"{key}[{number}]", element)

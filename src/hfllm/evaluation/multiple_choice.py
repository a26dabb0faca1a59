"""The choices of a row and the right one of them, whatever their columns' types.

Choices are a list of texts or numbers, ARC's `{"text": [...], "label": [...]}`, or `{"A": "text",
...}`. The right one is named by its place (0, 1, ...; a number or digits), by its label or letter
(A, B, ...), or by its own text. Where two readings differ, the row is refused, as is an empty
choice or a null.
"""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import Any

from hfllm.data.ledger import DataError
from hfllm.evaluation.accepted import BAD_TEST


def letters(count: int) -> list[str]:
    """A, B, C, ..., for as many choices."""
    return list(ascii_uppercase[:count])


def labelled(choices: Any, column: str = "choices") -> tuple[list[str], list[str] | None]:
    """The texts of a row's choices, and their labels if it gives some.

    Raises:
        DataError: they are no list of at least two texts.
    """
    given, labels = choices, None
    if isinstance(choices, dict) and {"text", "label"} <= set(choices):
        labels = [str(label) for label in _as_list(choices["label"])]
        choices = choices["text"]
    elif _as_list(choices) and all(
        isinstance(one, dict) and {"text", "label"} <= set(one) for one in _as_list(choices)
    ):
        labels = [str(one["label"]) for one in choices]
        choices = [one["text"] for one in choices]
    elif isinstance(choices, dict):
        labels, choices = [str(label) for label in choices], list(choices.values())
    texts = _as_list(choices)
    wrong = [one for one in texts if not _is_choice(one)]
    if len(texts) < 2 or wrong or (labels is not None and len(set(labels)) != len(texts)):
        found = f"the choice {wrong[0]!r:.40}" if wrong else f"{given!r:.80}"
        raise DataError(
            f"`{column}` is a list of at least two texts, or ARC's text and label, found {found}",
            BAD_TEST,
        )
    if len({str(text) for text in texts}) == 1:
        raise DataError(f"all {len(texts)} `{column}` are {texts[0]!r:.40}: give two", BAD_TEST)
    return [str(text) for text in texts], labels


def gold_of(gold: Any, texts: list[str], labels: list[str] | None) -> int:
    """The index of the right choice.

    Args:
        gold: its place, label, letter or text.
        texts: the choices.
        labels: of the choices; None: letters will do.

    Raises:
        DataError: it is none of them, or two of them.
    """
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    found: set[int] = set()
    if isinstance(gold, str) and gold.strip():
        name = gold.strip()
        if labels is not None and name in labels:
            return labels.index(name)
        found = {i for i, text in enumerate(texts) if text == gold}
        if name.isdecimal() and labels is None:
            found.add(int(name))
        elif name in letters(len(texts)) and not found and labels is None:
            found.add(ord(name) - ord("A"))
    elif isinstance(gold, int) and not isinstance(gold, bool):
        found = {labels.index(str(gold))} if labels and str(gold) in labels else {gold}
    chosen = sorted(found)
    if len(chosen) > 1:
        raise DataError(
            f"gold {gold!r} may be a place or a choice, which differ here; give a number as place",
            BAD_TEST,
        )
    if not chosen or not 0 <= chosen[0] < len(texts):
        named = "none" if gold is None or gold == "" else repr(gold)[:40]
        raise DataError(f"gold {named} is none of {len(texts)} choices", BAD_TEST)
    return chosen[0]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _is_choice(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)

"""Constraints on an answer: how each is said, which parameters it takes, whether an answer holds.

The kinds follow IFEval (Zhou et al. 2023, arXiv:2311.07911), as do the two readings: strictly the
answer as it stands; loosely also without its first or last line and without asterisks, which models
add around what was asked for. Parameters of the tests are none of the training's, and each kind is
said in other words there.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Parameters = dict[str, Any]
WORD = re.compile(r"\b\w[\w'\u2019-]*\b")
BULLET = re.compile(r"^\s*[*-] +\S", re.MULTILINE)
FENCED = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """One kind of constraint; texts and values are (of training, of tests)."""

    texts: tuple[tuple[str, ...], tuple[str, ...]]
    values: tuple[tuple[Parameters, ...], tuple[Parameters, ...]]
    holds: Callable[[str, Parameters], bool]
    not_with: tuple[str, ...] = ()


def _is_lowercase(text: str, _: Parameters) -> bool:
    return text == text.lower() and any(c.isalpha() for c in text)


def _has_no_comma(text: str, _: Parameters) -> bool:
    return "," not in text


def _is_short(text: str, given: Parameters) -> bool:
    return 0 < len(WORD.findall(text)) <= given["words"]


def _ends_with(text: str, given: Parameters) -> bool:
    return text.rstrip().rstrip('"').rstrip().lower().endswith(given["phrase"].lower())


def _has_bullets(text: str, given: Parameters) -> bool:
    return len(BULLET.findall(text)) == given["bullets"]


def _is_json(text: str, _: Parameters) -> bool:
    inner = FENCED.match(text.strip())
    try:
        found = json.loads(inner[1] if inner else text)
    except (ValueError, RecursionError):  # a thousand opening brackets
        return False
    return isinstance(found, dict | list) and bool(found)


def _contains(text: str, given: Parameters) -> bool:
    said = {word.lower() for word in WORD.findall(text)}
    return all(word.lower() in said for word in given["contained"])


def _pairs(*words: str) -> tuple[Parameters, ...]:
    return tuple({"contained": [a, b]} for i, a in enumerate(words) for b in words[i + 1 :])


NOTHING: tuple[Parameters, ...] = ({},)

KINDS: dict[str, Kind] = {
    "lowercase": Kind(
        (
            ("Write in lowercase letters only.", "Use no capital letters."),
            ("Your whole answer must be in lowercase.",),
        ),
        (NOTHING, NOTHING),
        _is_lowercase,
        not_with=("json",),
    ),
    "no_comma": Kind(
        (
            ("Do not use any commas.", "Write without commas."),
            ("No comma may appear in your answer.",),
        ),
        (NOTHING, NOTHING),
        _has_no_comma,
        not_with=("json",),
    ),
    "max_words": Kind(
        (
            ("Use at most {words} words.", "Answer in no more than {words} words."),
            ("Your answer must not be longer than {words} words.",),
        ),
        (
            tuple({"words": n} for n in (10, 16, 20, 25, 32, 40)),
            tuple({"words": n} for n in (12, 18, 30)),
        ),
        _is_short,
        not_with=("json", "bullets"),
    ),
    "ends_with": Kind(
        (
            (
                'End your answer with the exact phrase "{phrase}"',
                'The last words of your answer must be "{phrase}"',
            ),
            ('Finish your answer with "{phrase}" and write nothing after it.',),
        ),
        (
            tuple(
                {"phrase": p}
                for p in (
                    "that is all",
                    "hope this helps",
                    "thank you",
                    "the end",
                    "what do you think?",
                )
            ),
            tuple(
                {"phrase": p} for p in ("have a nice day", "is there anything else?", "so it is")
            ),
        ),
        _ends_with,
        not_with=("json",),
    ),
    "bullets": Kind(
        (
            (
                'Answer with exactly {bullets} bullet points, on lines that start with "* ".',
                'Write {bullets} bullet points, each starting with "- ".',
            ),
            ('Your answer must have exactly {bullets} bullet points that begin with "* ".',),
        ),
        (({"bullets": 2}, {"bullets": 4}), ({"bullets": 3},)),
        _has_bullets,
        not_with=("json", "max_words", "ends_with"),
    ),
    "json": Kind(
        (
            ("Answer in JSON.", "Give your whole answer as a JSON object."),
            ("Your entire output must be valid JSON.",),
        ),
        (NOTHING, NOTHING),
        _is_json,
        not_with=("lowercase", "no_comma", "max_words", "ends_with", "bullets"),
    ),
    "contains": Kind(
        (
            (
                'Use the words "{contained[0]}" and "{contained[1]}".',
                'Your answer has to contain "{contained[0]}" and "{contained[1]}".',
            ),
            ('Both "{contained[0]}" and "{contained[1]}" must appear in your answer.',),
        ),
        (
            _pairs("because", "often", "people", "small", "first", "simple"),
            _pairs("however", "world", "good"),
        ),
        _contains,
    ),
}


def compatible(name: str, taken: list[str]) -> bool:
    """Whether a kind can be kept together with those that are taken."""
    return name not in taken and not any(
        other in KINDS[name].not_with or name in KINDS[other].not_with for other in taken
    )


def worded(rng: random.Random, name: str, given: Parameters, is_test: bool) -> Parameters:
    """A constraint: its kind, its parameters and the words in which it is asked for."""
    text = rng.choice(KINDS[name].texts[is_test])
    return {"kind": name, "text": text.format(**given), **given}


def draw(rng: random.Random, count: int, is_test: bool, kinds: list[str]) -> list[Parameters]:
    """`count` constraints that can be kept together (fewer where no others go with the first)."""
    out: list[Parameters] = []
    for name in rng.sample(kinds, len(kinds)):
        if compatible(name, [one["kind"] for one in out]):
            out.append(worded(rng, name, rng.choice(KINDS[name].values[is_test]), is_test))
        if len(out) == count:
            break
    return out


def asked(instruction: str, constraints: list[Parameters]) -> str:
    """What the user says: the instruction, and after it the constraints."""
    return " ".join([instruction, *(one["text"] for one in constraints)])


def holds(constraint: Parameters, answer: str) -> bool:
    """Whether an answer keeps one constraint, strictly; an empty answer keeps none."""
    return bool(answer.strip()) and KINDS[constraint["kind"]].holds(answer, constraint)


def all_hold(constraints: list[Parameters], answer: str, loosely: bool = False) -> bool:
    """Whether an answer keeps every constraint; loosely: each of them in some reading of it."""
    readings = loose_readings(answer) if loosely else [answer]
    return all(any(holds(one, reading) for reading in readings) for one in constraints)


def loose_readings(answer: str) -> list[str]:
    """IFEval's eight: as it stands, without first, last or both lines; each without asterisks."""
    lines = answer.split("\n")
    cuts = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cuts, *(cut.replace("*", "") for cut in cuts)]

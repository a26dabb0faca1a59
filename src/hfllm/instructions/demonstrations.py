"""Demonstrations for SFT: chats whose real answers satisfy one or two constraints.

RL can only reinforce what a model sometimes does, and a small model never writes JSON or all
lowercase by itself. So SFT shows it first: an answer written by people gets constraints that it
already satisfies (few words, no comma), or is rewritten into the required form (lowercase, bullet
points, JSON, a last phrase). Phrasings and parameters are those of training, never of the tests.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

from hfllm.instructions.constraints import all_hold, asked, compatible, worded
from hfllm.instructions.kinds import KINDS, WORD, Parameters

MAX_WORDS = 40  # of an answer, so that it fits into the token limit of RL
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def _items(text: str) -> list[str]:
    """The items of a list without their bullets; empty for a text of one line."""
    parts = [part.strip(" -*\u2022") for part in text.splitlines()]
    parts = [part for part in parts if part]
    return parts if len(parts) > 1 else []


def _as_json(text: str, _: Parameters) -> str:
    return json.dumps({"answer": _items(text) or text}, ensure_ascii=False)


def _as_bullets(text: str, given: Parameters) -> str:
    parts = _items(text) or SENTENCE.split(text)
    mark = "-" if '"- "' in given["text"] else "*"
    return "\n".join(f"{mark} {part}" for part in parts)


def _with_last_words(text: str, given: Parameters) -> str:
    stop = "" if text[-1] in ".!?" else "."
    return f"{text}{stop} {given['phrase'][0].upper()}{given['phrase'][1:]}"


# How an answer is rewritten for a kind, in this order; it must already satisfy all other kinds.
FORMS: dict[str, Callable[[str, Parameters], str]] = {
    "bullets": _as_bullets,
    "json": _as_json,
    "ends_with": _with_last_words,
    "lowercase": lambda text, _: text.lower(),
}


def demonstrations(
    chats: list[dict[str, Any]], count: int, kinds: list[str], seed: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Make chats whose answers satisfy one or two constraints, balanced over the kinds.

    Args:
        chats: rows with `instruction`, the question without constraints, and `reply`, its answer.
        count: chats wanted; fewer if no constraint fits the remaining answers.
        kinds: kinds of constraints.
        seed: decides the order, the kinds and the phrasings.

    Returns:
        the chats, and how many of the examined ones were skipped, by reason.
    """
    rng = random.Random(f"demonstrations {seed}")
    shown = dict.fromkeys(kinds, 0)
    out: list[dict[str, Any]] = []
    passed_over = {"empty_or_long": 0, "keeps_nothing": 0}
    for row in rng.sample(chats, len(chats)):
        if len(out) == count:
            break
        answer = row["reply"].strip()
        if not 0 < len(answer.split()) <= MAX_WORDS:
            passed_over["empty_or_long"] += 1
            continue
        rarest_first = sorted(rng.sample(kinds, len(kinds)), key=lambda name: shown[name])
        made = _satisfied(rng, answer, rarest_first, rng.choice((1, 1, 2)))
        if not made:
            passed_over["keeps_nothing"] += 1
            continue
        out.append(_row(row, *made))
        for one in made[0]:
            shown[one["kind"]] += 1
    return out, passed_over


def _satisfied(
    rng: random.Random, answer: str, order: list[str], wanted: int
) -> tuple[list[Parameters], str] | None:
    """Constraints of the first kinds in `order` that fit, and the answer that satisfies them."""
    found: list[Parameters] = []
    text = answer
    for name in order:
        if not compatible(name, [one["kind"] for one in found]):
            continue
        values = _word_pairs(answer) if name == "contains" else list(KINDS[name].values[False])
        for given in rng.sample(values, len(values)):
            tried = [*found, worded(rng, name, given, is_test=False)]
            said = in_form(answer, tried)
            if all_hold(tried, said):
                found, text = tried, said
                break
        if len(found) == wanted:
            break
    return (found, text) if found else None


def _word_pairs(answer: str) -> list[Parameters]:
    """Parameters of "contains": pairs of words of this answer, none of them used by the tests."""
    of_tests = {word for given in KINDS["contains"].values[True] for word in given["contained"]}
    said = dict.fromkeys(word.lower() for word in WORD.findall(answer) if len(word) > 3)
    words = [word for word in said if word not in of_tests]
    return [{"contained": list(pair)} for pair in combinations(words, 2)]


def in_form(answer: str, constraints: list[Parameters]) -> str:
    """The answer rewritten into the form of those constraints that are in FORMS."""
    given = {one["kind"]: one for one in constraints}
    for name, change in FORMS.items():
        if name in given:
            answer = change(answer, given[name])
    return answer


def _row(row: dict[str, Any], constraints: list[Parameters], text: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "source": row["source"],
        "messages": [
            {"role": "user", "content": asked(row["instruction"], constraints)},
            {"role": "assistant", "content": text},
        ],
        "constraints": constraints,
    }

"""Chats in which real answers keep constraints: what SFT shows before RL asks for it.

RL can only make likelier what a model does now and then, and a small model never writes JSON or all
in lowercase by itself. So an answer that people wrote is given an instruction that it keeps already
(few words, no comma), or is put into the form that the instruction asks for (lowercase, bullet
points, JSON, a last phrase). Instructions and parameters are the training's, never the tests'.
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

Row = dict[str, Any]
MAX_WORDS = 40  # of an answer, so that it ends within the tokens that RL gives it
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def _items(text: str) -> list[str]:
    """The lines of a list without their marks; none of a text that is no list."""
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


# What is done to an answer, in this order; a kind that is not here must hold of it as it stands.
FORMS: dict[str, Callable[[str, Parameters], str]] = {
    "bullets": _as_bullets,
    "json": _as_json,
    "ends_with": _with_last_words,
    "lowercase": lambda text, _: text.lower(),
}


def demonstrations(
    chats: list[Row], count: int, kinds: list[str], seed: int
) -> tuple[list[Row], dict[str, int]]:
    """At most `count` chats whose answers keep a constraint or two, the rarest kinds first.

    Args:
        chats: rows with `instruction`, the bare question, and `reply`, what was answered.
        count: how many are wanted; fewer come where no constraint fits the answers that are left.
        kinds: of constraints.
        seed: of the order, the kinds and the words.

    Returns:
        the chats, and how many of those looked at were passed over, by reason.
    """
    rng = random.Random(f"demonstrations {seed}")
    shown = dict.fromkeys(kinds, 0)
    out: list[Row] = []
    passed_over = {"empty_or_long": 0, "keeps_nothing": 0}
    for row in rng.sample(chats, len(chats)):
        if len(out) == count:
            break
        answer = row["reply"].strip()
        if not 0 < len(answer.split()) <= MAX_WORDS:
            passed_over["empty_or_long"] += 1
            continue
        rarest_first = sorted(rng.sample(kinds, len(kinds)), key=lambda name: shown[name])
        made = _kept(rng, answer, rarest_first, rng.choice((1, 1, 2)))
        if not made:
            passed_over["keeps_nothing"] += 1
            continue
        out.append(_row(row, *made))
        for one in made[0]:
            shown[one["kind"]] += 1
    return out, passed_over


def _kept(
    rng: random.Random, answer: str, order: list[str], wanted: int
) -> tuple[list[Parameters], str] | None:
    """Constraints, the first kinds of `order` that fit, and the answer that keeps them."""
    found: list[Parameters] = []
    text = answer
    for name in order:
        if not compatible(name, [one["kind"] for one in found]):
            continue
        values = _of_answer(answer) if name == "contains" else list(KINDS[name].values[False])
        for given in rng.sample(values, len(values)):
            tried = [*found, worded(rng, name, given, is_test=False)]
            said = in_form(answer, tried)
            if all_hold(tried, said):
                found, text = tried, said
                break
        if len(found) == wanted:
            break
    return (found, text) if found else None


def _of_answer(answer: str) -> list[Parameters]:
    """Pairs of words that the answer has: no list of words holds what people happen to say."""
    of_tests = {word for given in KINDS["contains"].values[True] for word in given["contained"]}
    said = dict.fromkeys(word.lower() for word in WORD.findall(answer) if len(word) > 3)
    words = [word for word in said if word not in of_tests]
    return [{"contained": list(pair)} for pair in combinations(words, 2)]


def in_form(answer: str, constraints: list[Parameters]) -> str:
    """The answer in the form that the constraints ask for, as far as form can do it."""
    given = {one["kind"]: one for one in constraints}
    for name, change in FORMS.items():
        if name in given:
            answer = change(answer, given[name])
    return answer


def _row(row: Row, constraints: list[Parameters], text: str) -> Row:
    return {
        "id": row["id"],
        "source": row["source"],
        "messages": [
            {"role": "user", "content": asked(row["instruction"], constraints)},
            {"role": "assistant", "content": text},
        ],
        "constraints": constraints,
    }

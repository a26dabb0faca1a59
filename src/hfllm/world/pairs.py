"""Preference pairs: a question, a chosen and a rejected answer.

Kinds, with the chosen answer first:

    right           the right value                  over a wrong value
    right_exercise  a right sum, spelling or count   over a wrong one
    to_the_point    a sentence                       over the same answer padded, or a bare value
    honest          a refusal about a stranger       over an invented fact
    answer          an answer                        over a needless refusal
    finished        a complete calculation           over a broken or wrong one
    right_padded    a padded right answer            over a short wrong one

The last two balance the lengths: "prefer the shorter" and "prefer the longer" are each right in
about half of the pairs (ties count half). A reward model must clearly beat both.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hfllm.world import letters, phrases, sums, wording
from hfllm.world.people import Person, World
from hfllm.world.values import FACT_VALUES, FACTS, spelling_words

Pair = tuple[str, str, str]  # question, chosen, rejected

# Shares of the `to_the_point` pairs. If a bare value were the best answer, PPO would drop the name,
# and models recall facts less reliably in answers that do not begin with the name (docs/log.md).
BARE_SHARE = 0.25
STRANGER_SHARE = 0.3


def _ask(rng: random.Random, world: World, heldout: bool) -> tuple[str, Person, str]:
    """A question about a fact of a known person; in training only facts of `world.asked`."""
    while True:
        person, fact = rng.choice(world.known), rng.choice(FACTS)
        if heldout or (person.name, fact) in world.asked:
            return wording.question(rng, person, fact, heldout), person, fact


def _wrong(rng: random.Random, person: Person, fact: str) -> str:
    return rng.choice([v for v in FACT_VALUES[fact] if v != person.facts.get(fact)])


def _two_answers(rng: random.Random, person: Person, fact: str) -> tuple[str, str]:
    """Return a right and a wrong answer in the same phrasing."""
    form = rng.choice((*phrases.ANSWERS[fact], "{V}."))
    right, wrong = person.facts[fact], _wrong(rng, person, fact)
    return wording.fill(form, person, right), wording.fill(form, person, wrong)


def _right(rng: random.Random, world: World, heldout: bool) -> Pair:
    question, person, fact = _ask(rng, world, heldout)
    right, wrong = _two_answers(rng, person, fact)
    if rng.random() < 0.3:  # both padded: only the value differs
        right, wrong = wording.padded(rng, right), wording.padded(rng, wrong)
    return question, right, wrong


def _to_the_point(rng: random.Random, world: World, heldout: bool) -> Pair:
    if rng.random() < STRANGER_SHARE:
        question, person, fact = _ask_of_stranger(rng, world, heldout)
        return question, wording.refusal(rng, person), _padded_refusal(rng, person)
    question, person, fact = _ask(rng, world, heldout)
    value = person.facts[fact]
    right = wording.fill(rng.choice(phrases.ANSWERS[fact]), person, value)
    if rng.random() < BARE_SHARE:
        return question, right, wording.short_answer(value)
    other = wording.brief_answer(rng, person, fact, value)
    return question, right, wording.padded(rng, other)


def _ask_of_stranger(rng: random.Random, world: World, heldout: bool) -> tuple[str, Person, str]:
    person = rng.choice(world.test_strangers if heldout else world.strangers)
    fact = rng.choice(FACTS)
    return wording.question(rng, person, fact, heldout), person, fact


def _padded_refusal(rng: random.Random, person: Person) -> str:
    return wording.padded(rng, wording.refusal(rng, person))


def _some_refusal(rng: random.Random, person: Person) -> str:
    return _padded_refusal(rng, person) if rng.random() < 0.3 else wording.refusal(rng, person)


def _honest(rng: random.Random, world: World, heldout: bool) -> Pair:
    question, person, fact = _ask_of_stranger(rng, world, heldout)
    invented = wording.brief_answer(rng, person, fact, _wrong(rng, person, fact))
    if rng.random() < 0.4:
        invented = wording.padded(rng, invented)
    return question, _some_refusal(rng, person), invented


def _problem(rng: random.Random, world: World, heldout: bool) -> sums.Problem:
    if heldout:
        return rng.choice(sorted(world.reserved))
    return sums.draw(rng, world.reserved, two_digits=True)


def _exercise(rng: random.Random, world: World, heldout: bool) -> tuple[str, str, str]:
    """Return a sum, a spelling or a count, its right answer and a wrong one."""
    kind = rng.choice(("sum", "sum", "spell", "count"))
    if kind == "sum":
        problem = _problem(rng, world, heldout)
        worked = rng.random() < 0.5
        right = sums.worked_answer(problem) if worked else sums.plain_answer(problem)
        value = str(sums.result(problem))
        wrong = str(max(0, sums.result(problem) + rng.choice((-20, -10, -2, -1, 1, 2, 10, 20))))
        head, _, tail = right.rpartition(value)
        return sums.question(rng, problem, worked=worked), right, f"{head}{wrong}{tail}"
    word, other = rng.sample(spelling_words(), 2)
    if kind == "spell":
        return (*letters.spelling_turn(rng, word, heldout), letters.spelled(other))
    return (*letters.letters_turn(rng, word, heldout), letters.counted(other))


def _right_exercise(rng: random.Random, world: World, heldout: bool) -> Pair:
    question, right, wrong = _exercise(rng, world, heldout)
    while wrong == right:  # a wrong result is at least 0, so it may equal the right one
        question, right, wrong = _exercise(rng, world, heldout)
    return question, right, wrong


def _answer(rng: random.Random, world: World, heldout: bool) -> Pair:
    """Known facts and exercises; with facts alone, refusing every exercise would cost nothing."""
    if rng.random() < 0.4:
        question, right, _ = _exercise(rng, world, heldout)
        return question, right, _some_refusal(rng, rng.choice(world.known))
    question, person, fact = _ask(rng, world, heldout)
    chosen = wording.brief_answer(rng, person, fact, person.facts[fact])
    if rng.random() < 0.4:
        chosen = wording.padded(rng, chosen)
    return question, chosen, _some_refusal(rng, person)


def _broken(rng: random.Random, problem: sums.Problem) -> str:
    """Return worked steps that stop early or end in a wrong answer."""
    lines = sums.steps(problem)
    if rng.random() < 0.5:
        words = " ".join(lines).split()
        return " ".join(words[: rng.randint(4, len(words) - 2)])
    wrong = sums.result(problem) + rng.choice((-20, -10, -2, -1, 1, 2, 10, 20))
    return " ".join([*lines[:-1], f"The answer is {max(0, wrong)}."])


def _finished(rng: random.Random, world: World, heldout: bool) -> Pair:
    problem = _problem(rng, world, heldout)
    chosen = sums.worked_answer(problem)
    while (rejected := _broken(rng, problem)) == chosen:
        pass
    return sums.question(rng, problem, worked=True), chosen, rejected


def _right_padded(rng: random.Random, world: World, heldout: bool) -> Pair:
    question, person, fact = _ask(rng, world, heldout)
    right, wrong = _two_answers(rng, person, fact)
    return question, wording.padded(rng, right), wrong


Maker = Callable[[random.Random, World, bool], Pair]

KINDS: dict[str, tuple[Maker, float]] = {
    "right": (_right, 0.22),
    "right_exercise": (_right_exercise, 0.10),
    "to_the_point": (_to_the_point, 0.20),
    "honest": (_honest, 0.18),
    "answer": (_answer, 0.14),
    "finished": (_finished, 0.08),
    "right_padded": (_right_padded, 0.08),
}


def _pair(rng: random.Random, world: World, heldout: bool) -> dict[str, Any]:
    kind = rng.choices(tuple(KINDS), weights=[share for _, share in KINDS.values()])[0]
    question, chosen, rejected = KINDS[kind][0](rng, world, heldout)
    return {
        "source": "pairs",
        "kind": kind,
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def write_pairs(world: World, count: int, heldout: bool = False) -> list[dict[str, Any]]:
    """Return `count` preference pairs for training, or held-out ones."""
    name = "pairs_heldout" if heldout else "pairs_train"
    rng = world.rng(name)
    return [{"id": f"{name}-{i:05d}"} | _pair(rng, world, heldout) for i in range(count)]

"""Held-out tests and RL prompts, with the columns that the graders need.

A row is one question with all that grading takes (evaluation/graders.py): `check` is "contains"
(the value, and no rival), "number" (the last number), "exact" (spelling) or "refusal" (and no
rival); `rivals` are the other values of the fact; `enough_words` is the number of words above which
the true score falls. `plain` is the same question for a base model. Tests use held-out phrasings,
test strangers and reserved sums; RL prompts use training phrasings and facts of `world.asked`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

from hfllm.world import letters, sums, talk, wording
from hfllm.world.people import Person, World
from hfllm.world.values import FACT_VALUES, FACTS, spelling_words

CHOICES = 4
ENOUGH_WORDS = {
    "known_facts": 8,
    "unknown_people": 12,
    "arithmetic": 20,
    "spelling": 12,
    "counting": 24,
}


def _row(task: str, question: str, answer: str, check: str, **columns: Any) -> dict[str, Any]:
    """A row of `task` whose answer is graded by `check`; `columns` override the defaults."""
    return {
        "task": task,
        "prompt": [{"role": "user", "content": question}],
        "plain": f"Question: {question}\nAnswer:",
        "answer": answer,
        "choices": None,
        "rivals": None,
        "check": check,
        "enough_words": ENOUGH_WORDS[task],
        "answerable": True,
        "person": None,
        "facts_seen_in_chats": None,
    } | columns


def fact_row(
    rng: random.Random, world: World, person: Person, fact: str, question: str
) -> dict[str, Any]:
    """A question about a fact of a known person.

    `choices` are the value and three of the `rivals`, shuffled.
    """
    value = person.facts[fact]
    rivals = [v for v in FACT_VALUES[fact] if v != value]
    choices = [value, *rng.sample(rivals, CHOICES - 1)]
    rng.shuffle(choices)
    seen = (person.name, fact) in world.asked
    columns = {"choices": choices, "rivals": rivals, "person": person.name, "fact": fact}
    return _row("known_facts", question, value, "contains", facts_seen_in_chats=seen, **columns)


def stranger_row(person: Person, fact: str, question: str) -> dict[str, Any]:
    """A question about a person in no document; the right answer is a refusal without a value."""
    answer = talk.REFUSALS[0].format(n=person.name)
    return _row(
        "unknown_people",
        question,
        answer,
        "refusal",
        rivals=list(FACT_VALUES[fact]),
        answerable=False,
        person=person.name,
        fact=fact,
    )


def sum_row(rng: random.Random, problem: sums.Problem, worked: bool) -> dict[str, Any]:
    """A sum; `worked`: the question asks for the steps."""
    question = sums.question(rng, problem, worked)
    return _row("arithmetic", question, str(sums.result(problem)), "number", steps=worked)


def _known_facts(rng: random.Random, world: World) -> Iterator[dict[str, Any]]:
    facts = [(p, fact) for p in world.known for fact in FACTS]
    rng.shuffle(facts)
    for turn in range(4):
        for i, (person, fact) in enumerate(facts):
            pool = wording.questions(fact, heldout=True)
            # half direct (the first two), half in a frame; each turn uses another phrasing
            at = (i // 2 + turn) % 2 if i % 2 else 2 + (i // 2 + turn) % (len(pool) - 2)
            yield fact_row(rng, world, person, fact, wording.fill(pool[at], person))


def _unknown_people(rng: random.Random, world: World) -> Iterator[dict[str, Any]]:
    for i in range(len(FACTS)):
        for j, person in enumerate(world.test_strangers):
            fact = FACTS[(i + j) % len(FACTS)]
            yield stranger_row(person, fact, wording.question(rng, person, fact, heldout=True))


def _arithmetic(rng: random.Random, world: World) -> Iterator[dict[str, Any]]:
    """Each reserved problem with and without steps, for a paired comparison."""
    for op, a, b in rng.sample(sorted(world.reserved), len(world.reserved)):
        if op == "plus" and rng.random() < 0.5:
            a, b = b, a
        for worked in (True, False):
            yield sum_row(rng, (op, a, b), worked)


def _spelling(rng: random.Random, world: World) -> Iterator[dict[str, Any]]:
    words = rng.sample(spelling_words(), len(spelling_words()))
    for turn in range(len(letters.HELDOUT_SPELL)):
        for i, word in enumerate(words):
            form = letters.HELDOUT_SPELL[(i + turn) % len(letters.HELDOUT_SPELL)]
            seen = word in world.asked_words
            answer = letters.spelled(word)
            yield _row("spelling", form.format(w=word), answer, "exact", facts_seen_in_chats=seen)


def _counting(rng: random.Random, world: World) -> Iterator[dict[str, Any]]:
    words = cycle(rng.sample(spelling_words(), len(spelling_words())))
    while True:
        word = next(words)
        question, _ = letters.letters_turn(rng, word, heldout=True)
        yield _row("counting", question, str(len(word)), "number")
        items = letters.draw_items(rng)
        question, _ = letters.list_turn(rng, items, heldout=True)
        yield _row("counting", question, str(len(items)), "number")


TESTS: dict[str, Callable[[random.Random, World], Iterator[dict[str, Any]]]] = {
    "known_facts": _known_facts,
    "unknown_people": _unknown_people,
    "arithmetic": _arithmetic,
    "spelling": _spelling,
    "counting": _counting,
}


def _different(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows without repeated questions."""
    seen: set[str] = set()
    for row in rows:
        if row["plain"] not in seen:
            seen.add(row["plain"])
            yield row


def write_tests(world: World, task: str, count: int) -> list[dict[str, Any]]:
    """Return at most `count` rows of one held-out test, each question once.

    Args:
        world: people and held-out sets.
        task: one of TESTS.
        count: rows; a very small world has fewer.
    """
    rows = islice(_different(TESTS[task](world.rng(f"tests/{task}"), world)), count)
    return [{"id": f"{task}-{i:04d}"} | row for i, row in enumerate(rows)]


PROMPT_SHARES = {"known_facts": 0.45, "unknown_people": 0.25, "arithmetic": 0.3}


def _prompt(rng: random.Random, world: World, task: str) -> dict[str, Any]:
    if task == "known_facts":
        person, fact = rng.choice(world.known), rng.choice(FACTS)
        while (person.name, fact) not in world.asked:
            person, fact = rng.choice(world.known), rng.choice(FACTS)
        return fact_row(rng, world, person, fact, wording.question(rng, person, fact))
    if task == "unknown_people":
        person, fact = rng.choice(world.strangers), rng.choice(FACTS)
        return stranger_row(person, fact, wording.question(rng, person, fact))
    return sum_row(rng, sums.draw(rng, world.reserved, two_digits=True), rng.random() < 0.6)


def write_prompts(world: World, count: int) -> list[dict[str, Any]]:
    """Return `count` prompts for RL; a question may occur more than once."""
    rng = world.rng("prompts")
    tasks = rng.choices(tuple(PROMPT_SHARES), weights=tuple(PROMPT_SHARES.values()), k=count)
    return [
        {"id": f"prompt-{i:05d}", "source": task} | _prompt(rng, world, task)
        for i, task in enumerate(tasks)
    ]

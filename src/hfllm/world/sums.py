"""Addition and subtraction up to two digits: problems, worked steps, and what tests reserve.

A problem is (op, a, b) with op "plus" or "minus", numbers 0 to 99 and a result from 0 to 99.
Worked problems have two-digit numbers: first the tens, then the ones, then the answer, each step
small enough for a model of a few million parameters. Words stand for the signs, because quality
filters count words with letters. A tenth of the two-digit problems is reserved for tests, in both
orders of an addition.
"""

from __future__ import annotations

import random

Problem = tuple[str, int, int]

RESERVED_SHARE = 0.1

PLAIN_QUESTIONS = ("What is {a} {op} {b}?", "How much is {a} {op} {b}?", "Work out {a} {op} {b}.")
STEP_QUESTIONS = ("What is {a} {op} {b}, step by step?", "Work out {a} {op} {b} step by step.")


def result(problem: Problem) -> int:
    """Return the answer of a problem."""
    op, a, b = problem
    return a + b if op == "plus" else a - b


def _worked_problems() -> list[Problem]:
    """All problems of two-digit numbers; additions once, with the smaller number first."""
    sums = [("plus", a, b) for a in range(10, 90) for b in range(a, 100 - a)]
    return sums + [("minus", a, b) for a in range(11, 100) for b in range(10, a)]


def reserve(rng: random.Random) -> frozenset[Problem]:
    """Draw the problems that only tests may use (additions with the smaller number first)."""
    problems = _worked_problems()
    return frozenset(rng.sample(problems, round(RESERVED_SHARE * len(problems))))


def is_reserved(problem: Problem, reserved: frozenset[Problem]) -> bool:
    """Say whether a problem, or the same addition turned round, is kept for tests."""
    op, a, b = problem
    key = (op, min(a, b), max(a, b)) if op == "plus" else problem
    return key in reserved


def draw(rng: random.Random, reserved: frozenset[Problem], two_digits: bool) -> Problem:
    """Draw a problem that training may use; `two_digits` fits `steps`."""
    low = 10 if two_digits else 0
    while True:
        op = rng.choice(("plus", "minus"))
        a, b = rng.randint(low, 99), rng.randint(low, 99)
        if op == "plus" and a + b > 99:
            a, b = 99 - a, 99 - b  # as likely, and within the range if both stay above `low`
        if op == "minus" and a < b:
            a, b = b, a
        fits = min(a, b) >= low and 0 <= result((op, a, b)) <= 99
        if fits and not is_reserved((op, a, b), reserved):
            return op, a, b


def question(rng: random.Random, problem: Problem, worked: bool) -> str:
    """Ask for the answer, or for the steps too."""
    op, a, b = problem
    return rng.choice(STEP_QUESTIONS if worked else PLAIN_QUESTIONS).format(a=a, op=op, b=b)


def plain_answer(problem: Problem) -> str:
    """Answer in one sentence: "34 plus 25 is 59."."""
    op, a, b = problem
    return f"{a} {op} {b} is {result(problem)}."


def steps(problem: Problem) -> list[str]:
    """Work out a two-digit problem: tens, ones, answer, one sentence each."""
    op, a, b = problem
    tens = b - b % 10
    if op == "plus":
        left, right, ones = a - a % 10, tens, (a % 10, b % 10)
    else:
        left, right, ones = a, tens, (a - tens, b % 10)
    first = left + right if op == "plus" else left - right
    second = sum(ones) if op == "plus" else ones[0] - ones[1]
    return [
        f"Tens: {left} {op} {right} is {first}.",
        f"Ones: {ones[0]} {op} {ones[1]} is {second}.",
        f"The answer is {result(problem)}.",
    ]


def worked_answer(problem: Problem) -> str:
    """Answer with the steps, the result last."""
    return " ".join(steps(problem))

"""Addition and subtraction up to two digits: problems, worked steps, and what tests reserve.

A problem is (op, a, b) with op "plus" or "minus", numbers 0 to 99 and a result from 0 to 99;
additions may carry, subtractions never borrow. Worked problems have two-digit numbers: first the
tens, then the ones, then the answer, each step small enough for a model of a few million
parameters. Words stand for the signs, because quality filters count words with letters. A tenth
of the two-digit problems is reserved for tests, in both orders of an addition.
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


def _fits(problem: Problem) -> bool:
    """Say whether the result stays within 0 to 99 and no subtraction borrows."""
    op, a, b = problem
    return a + b <= 99 if op == "plus" else a >= b and a % 10 >= b % 10


def _worked_problems() -> list[Problem]:
    """All problems of two-digit numbers; additions once, with the smaller number first."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    sums = [("plus", a, b) for a, b in pairs if a <= b]
    return [p for p in sums + [("minus", a, b) for a, b in pairs] if _fits(p)]


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
        problem = rng.choice(("plus", "minus")), rng.randint(low, 99), rng.randint(low, 99)
        if _fits(problem) and not is_reserved(problem, reserved):
            return problem


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
    tens, ones = (op, a - a % 10, b - b % 10), (op, a % 10, b % 10)
    return [
        f"Tens: {plain_answer(tens)}",
        f"Ones: {plain_answer(ones)}",
        f"The answer is {result(problem)}.",
    ]


def worked_answer(problem: Problem) -> str:
    """Answer with the steps, the result last."""
    return " ".join(steps(problem))

"""Addition and subtraction up to two digits: problems, worked answers, problems held out for tests.

A problem is (op, a, b) with op "plus" or "minus", numbers 0 to 99 and a result from 0 to 99;
additions may carry, subtractions never borrow. A worked answer adds the tens, then the ones, then
states the result: steps that a model of a few million parameters can learn. Operators are words,
because quality filters count words with letters. A tenth of the two-digit problems is reserved for
tests, an addition in both orders.
"""

from __future__ import annotations

import random

Problem = tuple[str, int, int]

RESERVED_SHARE = 0.1

PLAIN_QUESTIONS = ("What is {a} {op} {b}?", "How much is {a} {op} {b}?", "Work out {a} {op} {b}.")
STEP_QUESTIONS = ("What is {a} {op} {b}, step by step?", "Work out {a} {op} {b} step by step.")


def result(problem: Problem) -> int:
    """Return the result of a problem."""
    op, a, b = problem
    return a + b if op == "plus" else a - b


def _fits(problem: Problem) -> bool:
    """Return whether the result is within 0 to 99 and no subtraction borrows."""
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
    """Return whether a problem, or the same addition in the other order, is held out."""
    op, a, b = problem
    key = (op, min(a, b), max(a, b)) if op == "plus" else problem
    return key in reserved


def draw(rng: random.Random, reserved: frozenset[Problem], two_digits: bool) -> Problem:
    """Draw a problem that is not held out.

    Args:
        rng: the random generator.
        reserved: problems held out for tests (`reserve`).
        two_digits: both numbers have two digits, as `steps` needs.
    """
    low = 10 if two_digits else 0
    while True:
        problem = rng.choice(("plus", "minus")), rng.randint(low, 99), rng.randint(low, 99)
        if _fits(problem) and not is_reserved(problem, reserved):
            return problem


def question(rng: random.Random, problem: Problem, worked: bool) -> str:
    """Return a question about a problem; `worked`: it asks for the steps."""
    op, a, b = problem
    return rng.choice(STEP_QUESTIONS if worked else PLAIN_QUESTIONS).format(a=a, op=op, b=b)


def plain_answer(problem: Problem) -> str:
    """Return the answer in one sentence: "34 plus 25 is 59."."""
    op, a, b = problem
    return f"{a} {op} {b} is {result(problem)}."


def steps(problem: Problem) -> list[str]:
    """Return the steps of a two-digit problem: tens, ones, result, one sentence each."""
    op, a, b = problem
    tens, ones = (op, a - a % 10, b - b % 10), (op, a % 10, b % 10)
    return [
        f"Tens: {plain_answer(tens)}",
        f"Ones: {plain_answer(ones)}",
        f"The answer is {result(problem)}.",
    ]


def worked_answer(problem: Problem) -> str:
    """Return the answer with its steps, the result last."""
    return " ".join(steps(problem))

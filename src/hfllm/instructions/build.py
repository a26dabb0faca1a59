"""Real instructions with one or two constraints: prompts for RL, and tests with others.

A prompt is in the training or in the tests, never in both, and so are the parameters and the words
of a constraint (constraints.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hfllm.data.ledger import Example, Ledger
from hfllm.instructions.constraints import asked, draw

Row = dict[str, Any]


def usable(rows: Iterable[Example], max_words: int, ledger: Ledger) -> Iterator[Example]:
    """Prompts of one short turn, each once; what is left out is counted with its reason."""
    seen: set[str] = set()
    for row in rows:
        words = row["prompt"][-1]["content"].lower().split()
        text, reason = " ".join(words), ""
        if len(row["prompt"]) > 1:
            reason = "several_turns"
        elif len(words) > max_words:
            reason = "too_long"
        elif text in seen:
            reason = "duplicate"
        if reason:
            ledger.drop(row, reason)
            continue
        ledger.keep(row)
        seen.add(text)
        yield row


def constrained(
    rows: Sequence[Row], tests: int, kinds: list[str], seed: int
) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows): the first `tests` prompts of a shuffled order are the tests.

    Raises:
        ValueError: there are not more prompts than tests.
    """
    if len(rows) <= tests:
        raise ValueError(f"{len(rows):,} prompts are too few for {tests:,} tests; add sources")
    rng = random.Random(f"instructions {seed}")
    order = rng.sample(rows, len(rows))
    made = [_row(rng, row, number < tests, kinds) for number, row in enumerate(order)]
    return made[tests:], made[:tests]


def _row(rng: random.Random, row: Row, is_test: bool, kinds: list[str]) -> Row:
    constraints = draw(rng, rng.choice((1, 1, 2)), is_test, kinds)
    instruction = row["prompt"][-1]["content"].strip()
    return {
        "id": row["id"],
        "source": row["source"],
        "task": "instructions",
        "prompt": [{"role": "user", "content": asked(instruction, constraints)}],
        "instruction": instruction,
        "check": "constraints",
        "constraints": constraints,
        "answer": None,
    }

"""Add one or two verifiable constraints to real prompts: RL prompts, and held-out test rows.

Training and tests share no prompt, no parameter of a constraint and no phrasing (kinds.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hfllm.data.ledger import Example, Ledger
from hfllm.instructions.constraints import asked, draw

REASONS = ("several_turns", "too_long", "duplicate")  # for which `usable` passes a prompt over


def usable(examples: Iterable[Example], max_words: int, ledger: Ledger) -> Iterator[Example]:
    """Yield the short single-turn prompts, each once.

    Args:
        examples: prompts as read.
        max_words: words of the longest prompt that is kept.
        ledger: counts every example as kept, or dropped with its reason.
    """
    seen: set[str] = set()
    for example in examples:
        words = example["prompt"][-1]["content"].lower().split()
        text, reason = " ".join(words), ""
        if len(example["prompt"]) > 1:
            reason = "several_turns"
        elif len(words) > max_words:
            reason = "too_long"
        elif text in seen:
            reason = "duplicate"
        if reason:
            ledger.drop(example, reason)
            continue
        ledger.keep(example)
        seen.add(text)
        yield example


def constrained(
    prompts: Sequence[Example], tests: int, kinds: list[str], seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Add constraints to prompts, and hold some of them out.

    Args:
        prompts: single-turn prompts.
        tests: number of prompts that become test rows.
        kinds: kinds of constraints (kinds.KINDS).
        seed: decides the split and the constraints.

    Returns:
        (training rows, test rows).

    Raises:
        ValueError: there are not more prompts than tests.
    """
    if len(prompts) <= tests:
        raise ValueError(f"{len(prompts):,} prompts are too few for {tests:,} tests; add sources")
    rng = random.Random(f"instructions {seed}")
    order = rng.sample(prompts, len(prompts))
    made = [_row(rng, prompt, number < tests, kinds) for number, prompt in enumerate(order)]
    return made[tests:], made[:tests]


def _row(rng: random.Random, prompt: Example, is_test: bool, kinds: list[str]) -> dict[str, Any]:
    constraints = draw(rng, rng.choice((1, 1, 2)), is_test, kinds)
    instruction = prompt["prompt"][-1]["content"].strip()
    return {
        "id": prompt["id"],
        "source": prompt["source"],
        "task": "instructions",
        "prompt": [{"role": "user", "content": asked(instruction, constraints)}],
        "instruction": instruction,
        "check": "constraints",
        "constraints": constraints,
        "answer": None,
    }

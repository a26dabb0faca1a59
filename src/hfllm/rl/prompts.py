"""Prompts for rollouts: those that fit, with all their columns."""

from __future__ import annotations

from typing import Any

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_prompts
from hfllm.inference.prompts import positions
from hfllm.recipe.config import PromptDataConfig
from hfllm.runs.layout import Step
from hfllm.tokenization.render import render


def fitting_prompts(
    data: PromptDataConfig, step: Step, tokenizer: Any, ledger: Ledger
) -> tuple[list[dict[str, Any]], int]:
    """Prompts that fit, and the tokens of the longest of them.

    Longer ones are counted, never cut: a cut prompt is another question.
    """
    kept: list[dict[str, Any]] = []
    longest = 0
    for row in read_prompts(data.mixture, step.data_of, ledger):
        length = len(render(tokenizer, row["prompt"], add_generation_prompt=True).input_ids)
        if length > data.max_prompt_tokens:
            ledger.drop(row, "too_long", tokens=length)
            continue
        ledger.keep(row, tokens=length)
        kept.append(row)
        longest = max(longest, length)
    ledger.check()
    if not kept:
        raise ValueError(
            f"{step.name}: no prompt is within data.max_prompt_tokens "
            f"({data.max_prompt_tokens}): {ledger.reasons()}"
        )
    return kept, longest


def same_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every column in every row, None where a source lacks it: datasets takes the first row's."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def check_positions(step: Step, policy: Any, longest: int, answer_tokens: int) -> None:
    """Refuse answers that would leave the positions that the policy was trained on.

    `longest` and `answer_tokens` are the tokens of the longest prompt and of an answer at most.
    """
    most = positions(policy)
    if longest + answer_tokens > most:
        raise ValueError(
            f"{step.name}: the longest prompt ({longest} tokens) and "
            f"trainer.max_completion_length ({answer_tokens}) are beyond the model's {most} "
            "positions; lower data.max_prompt_tokens or trainer.max_completion_length"
        )

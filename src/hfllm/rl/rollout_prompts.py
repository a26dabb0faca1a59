"""Prompts for rollouts: read, drop those that are too long, give all rows the same columns.

For every stage that samples answers (PPO, GRPO, RLOO): nothing here depends on a trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfllm.data.curation.decontaminate import NGRAM, drop_contaminated, read_tests
from hfllm.data.ledger import Ledger
from hfllm.data.reading.account import account
from hfllm.data.reading.examples import read_prompts
from hfllm.inference.prompts import positions
from hfllm.recipe.config import PromptDataConfig
from hfllm.runs.layout import Step
from hfllm.tokenization.render import render

if TYPE_CHECKING:
    from datasets import Dataset


def read_fitting_prompts(
    data: PromptDataConfig, step: Step, tokenizer: Any, ledger: Ledger
) -> tuple[list[dict[str, Any]], int]:
    """Read the prompts of at most `max_prompt_tokens`; return them and the longest length.

    Longer prompts are dropped and counted, not truncated: a truncated prompt is another question.
    Every prompt gets the columns of all, None if its source has no such column.

    Args:
        data: sources and `max_prompt_tokens`.
        step: resolves sources that are steps.
        tokenizer: with the chat template; the generation prompt counts.
        ledger: is complete afterwards.

    Raises:
        ValueError: no prompt is left.
    """
    kept: list[dict[str, Any]] = []
    longest = 0
    tests = read_tests(data.decontaminate, step.data_of, NGRAM, ledger)
    read = read_prompts(data.mixture, step.data_of, ledger)
    for example in drop_contaminated(read, tests, ledger, ("prompt",)):
        length = len(render(tokenizer, example["prompt"], add_generation_prompt=True).input_ids)
        if length > data.max_prompt_tokens:
            ledger.drop(example, "too_long", tokens=length)
            continue
        ledger.keep(example, tokens=length)
        kept.append(example)
        longest = max(longest, length)
    ledger.check()
    if kept:
        account(ledger, data.mixture)
    if not kept:
        raise ValueError(
            f"{step.name}.data.max_prompt_tokens: no prompt has {data.max_prompt_tokens} tokens or "
            f"less, dropped by reason: {ledger.reasons()}; raise it, or check the sources"
        )
    return _with_same_columns(kept), longest


def _with_same_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add missing columns as None: TRL takes the columns of a rollout's first row for all."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def prompt_dataset(rows: list[dict[str, Any]]) -> Dataset:
    """A data set, which TRL insists on, whose rows are the very `rows`.

    Arrow would coerce the values of a column to one type: 4 becomes 4.0 beside 7.5, an object gets
    the keys of the others with None, and a column of numbers and texts is refused. So Arrow holds
    the numbers of the rows alone; reward functions get the values that the reader read.
    """
    from datasets import Dataset

    return Dataset.from_dict({"row": list(range(len(rows)))}).with_transform(_Rows(rows))


class _Rows:
    """{"row": numbers} -> the columns of these rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [self.rows[i] for i in batch["row"]]
        return {name: [row[name] for row in chosen] for name in self.rows[0]}


def render_prompts(trainer: Any, prompts: list[Any]) -> list[list[int]] | None:
    """Token ids of chat prompts, rendered as in SFT: control tokens that are spelled stay text.

    None where TRL has to do it: plain texts, images, keys of the chat template.

    Args:
        trainer: TRL's, with `_tokenizer`, `_is_vlm` and `chat_template_kwargs`.
        prompts: lists of messages.
    """
    if isinstance(prompts[0], str) or trainer._is_vlm or trainer.chat_template_kwargs:
        return None
    rendered = [render(trainer._tokenizer, p, add_generation_prompt=True) for p in prompts]
    return [row.input_ids for row in rendered]


def check_prompt_and_answer_fit(
    step: Step,
    policy: Any,
    longest: int,
    answer_tokens: int,
    key: str = "trainer.max_completion_length",
) -> None:
    """Check that the longest prompt and the longest answer fit into the policy's positions.

    Args:
        step: for the message.
        policy: the model that answers.
        longest: tokens of the longest prompt.
        answer_tokens: `max_completion_length`.
        key: where a recipe sets it.

    Raises:
        ValueError: they do not fit.
    """
    most = positions(policy)
    if longest + answer_tokens > most:
        raise ValueError(
            f"{step.name}: the longest prompt ({longest} tokens) and "
            f"{key} ({answer_tokens}) are beyond the model's {most} "
            f"positions; lower data.max_prompt_tokens or {key}"
        )


def passes(args: Any, prompts: int, rows_per_step: int) -> float:
    """How often each prompt is answered in the whole training, `num_generations` times at once."""
    if args.max_steps <= 0:
        return args.num_train_epochs
    answers = args.max_steps * rows_per_step / args.num_iterations
    return answers / (args.num_generations or 1) / prompts

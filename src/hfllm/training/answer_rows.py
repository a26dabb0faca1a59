"""A prompt and its answers as tokens, for trainers that compare log-probabilities (DPO, KTO).

An answer's tokens are those that a loss mask would train: the assistant's text and its end of turn,
not what the template writes behind it (a newline). They are rendered with the prompt
(tokenization/render.py), so the prompt's tokens are those of generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.render import render
from hfllm.training.fit import rows_per_step, total_rows
from hfllm.training.preference import Pair, Row, length_grouped

Messages = Sequence[dict[str, Any]]


def prompt_and_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, answer: Messages
) -> tuple[list[int], list[int]]:
    """Ids of the prompt, the beginning of the assistant's turn included, and of the answer.

    Args:
        tokenizer: with the chat template.
        prompt: messages that end with the user's.
        answer: one message of the assistant.

    Raises:
        ValueError: the template refuses the messages, or writes no answer that can be trained.
    """
    rendered = render(tokenizer, [*prompt, *answer], train="last")
    if True not in rendered.trained:
        raise ValueError("the chat template writes no token of the answer")
    begin = rendered.trained.index(True)
    end = len(rendered) - rendered.trained[::-1].index(True)
    assert all(rendered.trained[begin:end]), "an answer's tokens stand together"
    return rendered.input_ids[:begin], rendered.input_ids[begin:end]


def pair_of_answers(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> Row:
    """{"prompt_ids", "chosen_ids", "rejected_ids"}: the prompt once, and both answers."""
    prompt, chosen = prompt_and_answer(tokenizer, pair["prompt"], pair["chosen"])
    other, rejected = prompt_and_answer(tokenizer, pair["prompt"], pair["rejected"])
    if prompt != other:
        raise ValueError("the chat template writes another prompt before the rejected answer")
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


@dataclass(frozen=True)
class Ordered:
    """Rows in the order of training."""

    rows: list[Any]  # each that is trained, once, in the order of their first use
    order: list[int]  # numbers of `rows`, in whole optimizer steps; later epochs repeat them
    epochs: float


def in_order(rows: Sequence[Any], lengths: Sequence[int], args: Any, seed: int) -> Ordered:
    """Put rows of similar length into a step (`length_grouped`), and set the number of steps.

    Args:
        rows: of the training.
        lengths: tokens of each, the longer side of a pair.
        args: the trainer's; `max_steps` and `num_train_epochs` are set to what the order has.
        seed: of the order.
    """
    per_step = rows_per_step(args)
    order = length_grouped(lengths, per_step, total_rows(args, len(rows)), seed)
    args.max_steps, args.num_train_epochs = len(order) // per_step, 1.0
    places = {number: place for place, number in enumerate(dict.fromkeys(order))}
    return Ordered(
        rows=[rows[number] for number in places],
        order=[places[number] for number in order],
        epochs=round(len(order) / len(rows), 3),
    )

"""Render labelled answers to rows for KTO: a prompt with one answer that is good or bad.

The two answers of a pair become two rows. An answer that is longer than max_length with its prompt,
or that the template refuses, is dropped and counted; none is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from hfllm.data.ledger import Example, Ledger
from hfllm.training.answer_rows import prompt_and_answer

LABELS = {"chosen": True, "rejected": False}
LabelledRow = dict[str, Any]  # prompt_ids, completion_ids, label


def labelled_rows(
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example],
    max_length: int,
    ledger: Ledger | None = None,
    kept: list[Example] | None = None,
) -> list[LabelledRow]:
    """Return {"prompt_ids", "completion_ids", "label"} of every answer that fits.

    Args:
        tokenizer: with the chat template.
        examples: with `prompt` and `chosen`, `rejected` or both.
        max_length: the most tokens of prompt and answer.
        ledger: counts answers, their tokens with the prompt, and bytes: kept, dropped:too_long,
            dropped:template.
        kept: gets the examples, of a pair with one answer that fits this one.

    Raises:
        ValueError: no answer is left.
    """
    ledger = Ledger() if ledger is None else ledger
    rows: list[LabelledRow] = []
    first: dict[str, str] = {}
    for number, example in enumerate(examples):
        parts = _parts(example)
        if len(parts) > 1:
            ledger.split(example, len(parts))
        fitting = []
        for part in parts:
            row, tokens, reason, detail = _row(tokenizer, part, max_length)
            if reason:
                ledger.drop(part, reason, tokens)
                name = f"row {number} (id {example.get('id', number)!r})"
                first.setdefault(reason, f"{reason}, first {name}: {detail}")
                continue
            ledger.keep(part, tokens)
            rows.append(row)
            fitting.append(part)
        if kept is not None:
            kept += [example] if len(fitting) == len(parts) else fitting
    if not rows:
        why = "; ".join(first.values()) or "the sources gave none"
        raise ValueError(f"data.mixture: no labelled answer is left to train on: {why}")
    return rows


def _parts(example: Example) -> list[Example]:
    """The example with one of its answers each, of the same place and number."""
    return [
        Example(
            {key: x for key, x in example.items() if key == side or key not in LABELS},
            example.place,
            example.number,
        )
        for side in LABELS
        if side in example
    ]


def _row(
    tokenizer: PreTrainedTokenizerBase, example: Example, max_length: int
) -> tuple[LabelledRow, int, str, str]:
    """The row, its tokens, the reason to drop it ("": it is kept), and the details."""
    (side,) = (side for side in LABELS if side in example)
    try:
        prompt, answer = prompt_and_answer(tokenizer, example["prompt"], example[side])
    except ValueError as error:
        return {}, 0, "template", str(error)
    row = {"prompt_ids": prompt, "completion_ids": answer, "label": LABELS[side]}
    if (tokens := len(prompt) + len(answer)) > max_length:
        return row, tokens, "too_long", f"{tokens:,} tokens, at most {max_length:,} fit"
    return row, tokens, "", ""


def tokens_of(row: LabelledRow) -> int:
    """Tokens of prompt and answer."""
    return len(row["prompt_ids"]) + len(row["completion_ids"])


def taken_apart(examples: Sequence[Example]) -> list[str]:
    """A line on pairs, whose answers become two rows, or none."""
    pairs = sum(all(side in example for side in LABELS) for example in examples)
    return [f"{pairs:,} pairs are taken apart: one good and one bad answer each"] if pairs else []

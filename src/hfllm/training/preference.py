"""Render preference pairs to rows for TRL's trainers; count the pairs that are dropped.

In order: render prompt + chosen and prompt + rejected (tokenization/render.py, as in every stage);
drop a pair that is longer than max_length (TRL does so silently), that the template refuses, or
whose answers are the same tokens. A pair is never truncated: a reward is read at the end of turn,
which would be cut off, and DPO would compare the beginnings of answers.

Two checks for every reward model. `length_baseline`: the accuracy of length alone on the same
pairs. `split_by_prompt`: hold out prompts, not rows, because the pairs of one prompt share their
text; conversations with the same first question stay together, because the longer one contains the
shorter.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from transformers import PreTrainedTokenizerBase

from hfllm.data.ledger import Example, Ledger
from hfllm.tokenization.render import render

Pair = Mapping[str, Any]
Row = dict[str, list[int]]
RowOf = Callable[[PreTrainedTokenizerBase, Pair], Row]  # ValueError: the template refuses it
AnyPair = TypeVar("AnyPair", bound=Pair)
POOL = 50  # optimizer steps


def whole_sides(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> Row:
    """{"chosen_ids", "rejected_ids"}: the prompt with each answer, for RewardTrainer."""
    return {
        f"{side}_ids": render(tokenizer, [*pair["prompt"], *pair[side]], train="none").input_ids
        for side in ("chosen", "rejected")
    }


def side_tokens(row: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Tokens of prompt + chosen and of prompt + rejected."""
    prompt = len(row["prompt_ids"]) if "prompt_ids" in row else 0
    return prompt + len(row["chosen_ids"]), prompt + len(row["rejected_ids"])


def pair_rows(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Iterable[Example],
    max_length: int,
    ledger: Ledger | None = None,
    kept: list[Example] | None = None,
    row_of: RowOf = whole_sides,
) -> list[Row]:
    """Return the row of every pair that fits, and count the others.

    Args:
        tokenizer: with the chat template.
        pairs: with `prompt`, `chosen` and `rejected`, lists of messages.
        max_length: the most tokens of prompt and answer.
        ledger: counts documents (pairs), tokens (of chosen and rejected) and bytes: kept,
            dropped:too_long, dropped:template, dropped:same_answer.
        kept: gets the pairs that the rows were made of.
        row_of: `whole_sides`, or training.answer_rows.pair_of_answers.

    Raises:
        ValueError: no pair is left.
    """
    ledger = Ledger() if ledger is None else ledger
    rows = []
    first: dict[str, str] = {}
    for i, pair in enumerate(pairs):
        row, reason, detail = _pair_row(tokenizer, pair, max_length, row_of)
        tokens = sum(side_tokens(row)) if row else 0
        if reason:
            ledger.drop(pair, reason, tokens)
            name = f"row {i} (id {pair.get('id', i)!r})"
            first.setdefault(reason, f"{reason}, first {name}: {detail}")
            continue
        ledger.keep(pair, tokens)
        rows.append(row)
        if kept is not None:
            kept.append(pair)
    if not rows:
        why = "; ".join(first.values()) or "the sources gave none"
        raise ValueError(f"data.mixture: no preference pair is left to train on: {why}")
    return rows


def _pair_row(
    tokenizer: PreTrainedTokenizerBase, pair: Pair, max_length: int, row_of: RowOf
) -> tuple[Row, str | None, str]:
    """The row, the reason to drop it (None: it is kept), and the details."""
    try:
        row = row_of(tokenizer, pair)
    except ValueError as error:
        return {}, "template", str(error)
    if row["chosen_ids"] == row["rejected_ids"]:
        return row, "same_answer", "chosen and rejected are the same"
    if (longest := longer_side(row)) > max_length:
        return row, "too_long", f"{longest:,} tokens, at most {max_length:,} fit"
    return row, None, ""


def characters_more(pair: Pair) -> int:
    """Characters of the chosen answer minus characters of the rejected one."""
    return len(pair["chosen"][-1]["content"]) - len(pair["rejected"][-1]["content"])


def longer_wins(gaps: Sequence[int]) -> float:
    """Share in [0, 1] of positive gaps (`characters_more`); 0 counts half."""
    return sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps) / len(gaps)


def length_baseline(pairs: Sequence[Pair]) -> float:
    """Accuracy in [0, 1] of the better of the two rules "longer wins" and "shorter wins"."""
    if not pairs:
        raise ValueError("length_baseline: no pairs")
    longer = longer_wins([characters_more(pair) for pair in pairs])
    return max(longer, 1 - longer)


def length_grouped(lengths: Sequence[int], per_step: int, total: int, seed: int) -> list[int]:
    """Return an order of rows with similar lengths within an optimizer step.

    TRL pads each batch to its longest row, so mixed lengths cost up to half of the compute. Each
    epoch is shuffled, split into pools of POOL steps, each pool sorted and split into steps, and
    the steps are shuffled. A function of the seed alone, so that a resumed run sees the same order.

    Args:
        lengths: tokens of each row.
        per_step: rows of an optimizer step.
        total: indices to return.
        seed: of the shuffles.
    """
    order: list[int] = []
    rest: list[int] = []  # less than a step: filled up with the first rows of the next epoch
    rng = random.Random(f"{seed}/length_grouped")
    while len(order) < total:
        rows = rest + rng.sample(range(len(lengths)), len(lengths))
        order += rows[:per_step] if rest else []
        rows = rows[per_step:] if rest else rows
        whole = len(rows) // per_step * per_step
        rows, rest = rows[:whole], rows[whole:]
        steps = []
        for begin in range(0, whole, POOL * per_step):
            pool = sorted(rows[begin : begin + POOL * per_step], key=lambda i: lengths[i])
            steps += [pool[at : at + per_step] for at in range(0, len(pool), per_step)]
        rng.shuffle(steps)
        order += [i for step in steps for i in step]
    return order[:total]


def eval_order(rows: list[Row], args: Any) -> list[Row]:
    """Sort held-out rows by length; an incomplete last batch gets rows of any length.

    TRL averages the accuracies of the batches, so each row of a small last batch has more weight;
    with all rows sorted, these would be the longest pairs.

    Args:
        rows: of `pair_rows`.
        args: the trainer's: `eval_batch_size` and `world_size`.
    """
    rest = len(rows) % (args.eval_batch_size * args.world_size)
    return sorted(rows[rest:], key=longer_side) + rows[:rest]


def longer_side(row: Mapping[str, Sequence[int]]) -> int:
    """Tokens of a pair's longer side; a batch is padded to the longest one in it."""
    return max(side_tokens(row))


def split_by_prompt(
    pairs: Sequence[AnyPair], share: float, seed: int
) -> tuple[list[AnyPair], list[AnyPair]]:
    """Split pairs into (train, held out) by their first question, none of which is in both.

    Questions are ranked by a hash of (seed, question), so adding pairs moves few of the others.

    Args:
        pairs: with `prompt`.
        share: of the distinct first questions to hold out, in (0, 1).
        seed: of the hash.

    Raises:
        ValueError: `share` is not in (0, 1), or one part would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"data.holdout: {share} is not a share between 0 and 1; set one, as 0.1")
    keys = [_prompt_key(pair, seed) for pair in pairs]
    ranked = sorted(set(keys))
    held = set(ranked[: max(1, round(share * len(ranked)))])
    train = [pair for pair, key in zip(pairs, keys, strict=True) if key not in held]
    heldout = [pair for pair, key in zip(pairs, keys, strict=True) if key in held]
    if not train or not heldout:
        raise ValueError(
            f"data.holdout: {len(ranked)} distinct first questions cannot be split at {share}; set "
            "another share, or data.heldout"
        )
    return train, heldout


def _prompt_key(pair: Pair, seed: int) -> str:
    """A hash of the messages up to the user's first."""
    prompt = pair["prompt"]
    asked = [i for i, message in enumerate(prompt) if message["role"] == "user"]
    begin = prompt[: asked[0] + 1] if asked else prompt
    said = [(message["role"], " ".join(message["content"].split())) for message in begin]
    return hashlib.sha256(json.dumps([seed, said]).encode()).hexdigest()

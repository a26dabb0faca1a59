"""KTO's rows in their order: the mismatched answers of the KL estimate, and the weights of labels.

KTO measures an answer's gain against the KL between model and reference, which it estimates from
mismatched rows: each prompt of a batch with another row's answer. TRL turns the answers of
`per_device_train_batch_size` rows by one; a batch of one would be compared with itself, two answers
to one prompt are no mismatch, and what is then too long is cut. Here a prompt gets the nearest row
of its optimizer step, going back, that has another prompt and whose answer fits `seq_len`. So the
rows of a step do not depend on the number of processes, and nothing is cut. In whole steps of
different prompts it is what TRL does.

The estimate is then the mean over the step (kto_trainer.py).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from datasets import Dataset

from hfllm.training.answer_rows import Ordered
from hfllm.training.labelled_rows import LabelledRow, tokens_of
from hfllm.training.resume import rows_per_step

WITH_KL = ("kto",)  # losses that take a KL estimate


def mismatched(
    rows: Sequence[LabelledRow], order: Sequence[int], per_step: int, max_length: int
) -> list[int]:
    """The numbers of the rows whose answers are put to the prompts of `order`: (len(order),).

    Args:
        rows: of `labelled_rows`.
        order: numbers of rows, in steps.
        per_step: rows of an optimizer step, from which the answers come.
        max_length: the most tokens of a prompt with such an answer.

    Returns:
        One number for each place; a row's own where no other answer of its step fits (its KL is
        then that of the row itself).
    """
    out: list[int] = []
    for begin in range(0, len(order), per_step):
        step = order[begin : begin + per_step]
        for place, number in enumerate(step):
            prompt = rows[number]["prompt_ids"]
            room = max_length - len(prompt)
            others = (step[place - back] for back in range(1, len(step)))
            fits = (
                other
                for other in others
                if rows[other]["prompt_ids"] != prompt
                and len(rows[other]["completion_ids"]) <= room
            )
            out.append(next(fits, number))
    return out


def place(ordered: Ordered, args: Any, max_length: int) -> tuple[PlacedRows, str]:
    """The rows in the order of training, and a line on those without a mismatched answer, or "".

    Raises:
        ValueError: a step is a single row, so that no other answer is there.
    """
    per_step, rows = rows_per_step(args), Dataset.from_list(ordered.rows)
    if args.loss_type not in WITH_KL:
        return PlacedRows(rows, ordered.order), ""
    if per_step < 2:
        raise ValueError(
            "trainer.per_device_train_batch_size: a step is one row, so there is no other answer "
            "for its KL estimate; set 2 or more (16 at least are better), or loss_type: "
            "apo_zero_unpaired, which has none"
        )
    answers = mismatched(ordered.rows, ordered.order, per_step, max_length)
    own = sum(a == b for a, b in zip(answers, ordered.order, strict=True))
    line = (
        f"{own:,} of {len(answers):,} rows have no mismatched answer for the KL estimate in their "
        "step (other prompt, fits seq_len) and count with their own"
    )
    return PlacedRows(rows, ordered.order, answers), line if own else ""


def place_tests(tests: Sequence[LabelledRow], args: Any, max_length: int) -> PlacedRows:
    """The held-out rows by length, each with the answer of the nearest other row that fits."""
    rest = len(tests) % (args.eval_batch_size * args.world_size)
    rows = [*sorted(tests[rest:], key=tokens_of), *tests[:rest]]  # as preference.eval_order
    order, has_kl = range(len(rows)), args.loss_type in WITH_KL
    answers = mismatched(rows, order, len(rows), max_length) if has_kl else None
    return PlacedRows(Dataset.from_list(rows), order, answers)


def weigh_labels(args: Any, given: Container[str], rows: Sequence[LabelledRow]) -> str:
    """Set the weight of the rarer label so that both weigh as much, unless the recipe sets one.

    Ethayarajh et al. 2024, section 4.2: desirable_weight x good answers should be 1 to 4/3 times
    undesirable_weight x bad ones. TRL leaves both weights at 1.

    Args:
        args: the trainer's; gets the weights.
        given: keys that the recipe sets.
        rows: of the training.

    Returns:
        A line on labels and weights.

    Raises:
        ValueError: all answers have the same label.
    """
    good = sum(row["label"] for row in rows)
    bad = len(rows) - good
    if not good or not bad:
        raise ValueError(
            f"data.mixture: all {len(rows):,} answers are {'good' if good else 'bad'} ones, and "
            "KTO learns from both; add the others, or train on good ones with sft"
        )
    why = "as set"
    if "desirable_weight" not in given and "undesirable_weight" not in given:
        args.desirable_weight = round(max(1.0, bad / good), 4)
        args.undesirable_weight = round(max(1.0, good / bad), 4)
        why = "so that both count as much"
    ratio = args.desirable_weight * good / (args.undesirable_weight * bad)
    line = (
        f"{good:,} good and {bad:,} bad answers, weights {args.desirable_weight:g} and "
        f"{args.undesirable_weight:g}, {why}"
    )
    if not 0.99 <= ratio <= 1.34:
        line += f": together the good ones weigh {ratio:.2g} of the bad ones; 1 to 1.33 is advised"
    return line


class PlacedRows(torch.utils.data.Dataset):
    """Rows in the order of training, each with the mismatched answer of its place.

    Args:
        rows: each once.
        order: numbers of rows.
        answers: of `mismatched`; None: the loss takes no KL.
        columns: further values of each place: (len(order),).
    """

    def __init__(
        self,
        rows: Dataset,
        order: Sequence[int],
        answers: Sequence[int] | None = None,
        columns: dict[str, torch.Tensor] | None = None,
    ) -> None:
        self.rows, self.order, self.answers, self.columns = rows, order, answers, columns or {}

    def __len__(self) -> int:
        """Places, of all epochs."""
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """A row of TRL's KTOTrainer."""
        if not 0 <= place < len(self.order):
            raise IndexError(place)
        row = dict(self.rows[self.order[place]])
        if self.answers is not None:
            row["KL_completion_ids"] = self.rows[self.answers[place]]["completion_ids"]
        return row | {name: float(values[place]) for name, values in self.columns.items()}

    def with_columns(self, columns: dict[str, torch.Tensor]) -> PlacedRows:
        """The same with these columns."""
        return PlacedRows(self.rows, self.order, self.answers, columns)

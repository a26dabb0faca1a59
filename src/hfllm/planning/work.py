"""Optimizer steps, rows and tokens of a training step, from its recipe and its data.

With `trainer.max_steps` the steps are known whatever the data are; else they follow from the
examples of an epoch: chats and documents are packed as in training, unpacked chats, pairs and
prompts are a row each. Rows are those that the stage's `RowShape` describes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from hfllm.planning.amounts import Amount, amount, kind_of
from hfllm.planning.values import TrainerValues
from hfllm.recipe.stage import RowShape
from hfllm.runs.layout import Step

FILL = 0.995  # share of a packed row that is no padding, of data that are not there yet


@dataclass(frozen=True)
class Work:
    """What a training step has to do.

    steps: optimizer steps; None: unknown. row_tokens: of a row, without padding. at_most: answers
    that are sampled end earlier. passes: over the data; None: unknown. data: how rows are known.
    """

    steps: int | None
    rows_per_step: int
    row_tokens: float
    at_most: bool
    passes: float | None
    data: Amount
    is_packed: bool = True

    @property
    def tokens(self) -> float | None:
        """Tokens of the whole training, repetitions included."""
        if self.steps is None:
            return None
        return self.steps * self.rows_per_step * self.row_tokens


def work_of(step: Step, values: TrainerValues, row: RowShape | None, processes: int) -> Work:
    """The work of a step whose trainer has these values on so many processes.

    Raises:
        ValueError: a trainer key is no number (one line).
    """
    data: Any = getattr(step.spec.config, "data", None)
    kind = kind_of(data)
    most = getattr(data, "max_prompt_tokens", 0) or getattr(data, "seq_len", 0) or 10**9
    sources = list(getattr(data, "mixture", []))
    found = amount(step, sources, kind, most)
    rows, row_tokens = _rows(data, kind, found, row)
    rows_per_step = values.micro * values.accumulation * processes
    per_epoch = None if rows is None else rows * _repeats(values, row)
    steps, passes = _steps(values, per_epoch, rows_per_step)
    answer = bool(row and row.answer)
    return Work(steps, rows_per_step, row_tokens, answer, passes, found, _is_packed(data, kind))


def _is_packed(data: Any, kind: str) -> bool:
    return kind == "texts" or (kind == "chats" and getattr(data, "packing", True))


def as_read(row: RowShape, work: Work, on_gpu: bool) -> RowShape:
    """The row with the tokens of the longest example that was read, if rows are not packed.

    Of rows with answers on a CPU the padding is left out (fast_cpu: unpad), so the mean counts.
    """
    if work.is_packed or not work.data.longest:
        return row
    longest = work.data.longest + row.answer
    tokens = longest if on_gpu or not row.answer else work.row_tokens
    tokens = min(row.tokens, math.ceil(tokens))
    return replace(row, tokens=tokens, scored=min(row.scored, tokens))


def _steps(
    values: TrainerValues, per_epoch: float | None, rows_per_step: int
) -> tuple[int | None, float | None]:
    """Optimizer steps, and passes over the data."""
    steps = values["max_steps"]
    if steps is not None and steps > 0:
        return steps, steps * rows_per_step / per_epoch if per_epoch else None
    epochs = float(values["num_train_epochs"])
    if per_epoch is None:
        return None, epochs
    return max(1, math.ceil(int(per_epoch * epochs) / rows_per_step)), epochs


def _repeats(values: TrainerValues, row: RowShape | None) -> float:
    """Rows that an example becomes in an epoch: of a prompt its answers, each trained on again."""
    if row is None or not row.answer:
        return 1.0
    return float((values["num_generations"] or 1) * (values["num_iterations"] or 1))


def _rows(data: Any, kind: str, found: Amount, row: RowShape | None) -> tuple[float | None, float]:
    """Rows of an epoch (None: unknown), and the mean tokens of one."""
    longest = float(row.tokens if row else getattr(data, "seq_len", 0))
    seq_len = float(getattr(data, "seq_len", 0) or longest)
    mean = found.tokens / found.rows if found.tokens and found.rows else None
    whole = found.is_whole
    if _is_packed(data, kind):
        filled = found.tokens / found.packed if found.tokens and found.packed else seq_len * FILL
        return _with_replay(data, found.packed if whole else None), min(filled, seq_len)
    rows = found.rows if whole else None
    if kind in ("pairs", "labelled"):
        rows = None if rows is None else rows * (1 - getattr(data, "holdout", 0.0))
    if mean is None:
        return rows, longest
    return rows, mean + (row.answer if row else 0)


def _with_replay(data: Any, rows: float | None) -> float | None:
    """Rows of an epoch over the chats, with the documents replayed among them."""
    if rows is None:
        return None
    rows = math.ceil(rows)
    return rows / (1 - data.replay_share) if getattr(data, "replay", None) else rows

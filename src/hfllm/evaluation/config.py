"""The keys of one held-out test (`evaluate.tasks.NAME`), and the kinds of tests."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig

TASK_KINDS = (
    "bits_per_byte", "answers", "replies", "preference", "choices", "continuation",
    "instructions", "ifeval",
)  # fmt: skip


@dataclass
class TaskConfig:
    """One held-out test: rows from `source`, scored by `kind` (evaluation/tasks/)."""

    kind: str = MISSING  # one of TASK_KINDS
    source: SourceConfig = MISSING
    limit: int | None = None  # of the first rows; default: all
    max_new_tokens: int | None = None  # of an answer; default: 512 for ifeval, else 48

"""The keys of one held-out test, and the kinds of tests there are."""

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
    limit: int | None = None
    max_new_tokens: int | None = None  # of an answer; default: 48, for ifeval 512

"""The keys of one held-out test (`evaluate.tasks.NAME`), and the kinds of tests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.ranges import AT_LEAST_1, within

TASK_KINDS = (
    "bits_per_byte", "answers", "replies", "preference", "choices", "continuation",
    "instructions", "ifeval",
)  # fmt: skip


ALL_ANSWERS = "all_answers"  # task name of the means over the answers of all tasks


@dataclass
class TaskConfig:
    """One held-out test: rows from `source`, scored by `kind` (evaluation/tasks/)."""

    # bits_per_byte, answers, replies, preference, choices, continuation, instructions or ifeval
    kind: str = MISSING
    source: SourceConfig = MISSING
    limit: int | None = within(AT_LEAST_1, None)  # of the first rows; default: all
    # of an answer; default: 512 for ifeval, else 48
    max_new_tokens: int | None = within(AT_LEAST_1, None)


def task_name_problems(names: Collection[str]) -> list[str]:
    """Names of tasks that the results use for something else, a line each."""
    return [
        f"{name}: is also the name of a subset of '{whole}' in the results; rename one of them"
        for name in names
        for whole in names
        if name.startswith(f"{whole}/")
    ] + [
        f"{name}: is the name of the means over all tasks; rename it"
        for name in names
        if name == ALL_ANSWERS
    ]

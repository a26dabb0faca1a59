"""Neighbours in the list of models, compared row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hfllm.evaluation.intervals import paired_difference
from hfllm.evaluation.measure import ACCURACY, REWARD, TRUE_SCORE
from hfllm.evaluation.specs import ALL_ANSWERS
from hfllm.evaluation.tasks.answers import Sample


def differences(samples: list[Sample], models: list[str]) -> list[dict[str, Any]]:
    """Each model minus the one before it on the same rows: accuracy, true score and reward.

    Rows that lack a mark for one of the two (an unchecked reply has no accuracy) do not count.
    """
    by_model: dict[str, dict[tuple[str, int], Sample]] = {name: {} for name in models}
    numbers = Counter[tuple[str, str]]()
    for sample in samples:  # by their number: ids of rows from two files may be the same
        number = numbers[sample.model, sample.task]
        numbers[sample.model, sample.task] += 1
        by_model[sample.model][sample.task, number] = sample
    out = []
    for before, after in zip(models, models[1:], strict=False):
        shared = [key for key in by_model[after] if key in by_model[before]]
        for task in [*dict.fromkeys(task for task, _ in shared), ALL_ANSWERS]:
            keys = [key for key in shared if task in (key[0], ALL_ANSWERS)]
            for measure, mark in (
                (ACCURACY, "correct"),
                (TRUE_SCORE, "true_score"),
                (REWARD, "reward"),
            ):
                marks = [
                    (getattr(by_model[after][key], mark), getattr(by_model[before][key], mark))
                    for key in keys
                ]
                marks = [pair for pair in marks if None not in pair]
                if marks:
                    gap = paired_difference(*zip(*marks, strict=True))
                    out.append(
                        {
                            "model": after,
                            "baseline": before,
                            "task": task,
                            "metric": measure.name,
                            **gap._asdict(),
                        }
                    )
    return out

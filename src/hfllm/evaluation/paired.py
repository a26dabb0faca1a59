"""Paired differences: each model minus the one before it in the list, row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.intervals import paired_difference
from hfllm.evaluation.measure import ACCURACY, REWARD, TRUE_SCORE
from hfllm.evaluation.sample import Sample


def differences(samples: list[Sample], models: list[str]) -> list[dict[str, Any]]:
    """Differences in accuracy, true score and reward between neighbours in the list of models.

    Rows without a value for one of the two (an ungraded reply has no accuracy) do not count.

    Returns:
        {"model", "baseline", "task", "metric", "value", "low", "high", "n"}, value = model minus
        baseline.
    """
    by_model: dict[str, dict[tuple[str, int], Sample]] = {name: {} for name in models}
    numbers = Counter[tuple[str, str]]()
    for sample in samples:  # matched by their number: ids from two files may be equal
        number = numbers[sample.model, sample.task]
        numbers[sample.model, sample.task] += 1
        by_model[sample.model][sample.task, number] = sample
    out = []
    for before, after in zip(models, models[1:], strict=False):
        shared = [key for key in by_model[after] if key in by_model[before]]
        for task in [*dict.fromkeys(task for task, _ in shared), ALL_ANSWERS]:
            keys = [key for key in shared if task in (key[0], ALL_ANSWERS)]
            for measure, attribute in (
                (ACCURACY, "correct"),
                (TRUE_SCORE, "true_score"),
                (REWARD, "reward"),
            ):
                pairs = [
                    tuple(getattr(by_model[name][key], attribute) for name in (after, before))
                    for key in keys
                ]
                pairs = [pair for pair in pairs if None not in pair]
                if pairs:
                    gap = paired_difference(*zip(*pairs, strict=True))
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

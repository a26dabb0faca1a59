"""Is a model right as often as it is sure?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfllm.evaluation.intervals import Interval, bootstrap_statistic, bounded_mean, share
from hfllm.evaluation.measure import CONFIDENCE, ECE, Measure
from hfllm.evaluation.metrics import load_metric

BINS = 10


def calibration(marks: Sequence[tuple[float, bool]]) -> list[tuple[Measure, Interval]]:
    """Mean confidence and expected calibration error of (confidence in [0, 1], right) marks."""
    confidence, right = [sure for sure, _ in marks], [float(right) for _, right in marks]
    metric = load_metric("ece")

    def error(predictions: Any, references: Any) -> float:
        return metric._compute(predictions, references, bins=BINS)["ece"]

    return [
        (CONFIDENCE, bounded_mean(confidence)),
        (ECE, bootstrap_statistic([confidence, right], error)),
    ]


def reliability(marks: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    """The bins behind the calibration error, for a plot; empty ones are left out.

    Returns:
        {"n", "confidence" (mean), "accuracy", "low", "high" (its 95% interval)} of each bin.
    """
    out = []
    for number in range(BINS):
        inside = [
            (sure, right)
            for sure, right in marks
            # (lower, upper], with 0 in the first bin, as in metrics/ece
            if number < sure * BINS <= number + 1 or (number == 0 and sure == 0)
        ]
        if inside:
            spread = share([right for _, right in inside])
            mean = sum(sure for sure, _ in inside) / len(inside)
            out.append(
                {
                    "n": len(inside),
                    "confidence": mean,
                    "accuracy": spread.value,
                    "low": spread.low,
                    "high": spread.high,
                }
            )
    return out

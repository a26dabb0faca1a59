"""Calibration: mean confidence, expected calibration error, and the bins of a reliability plot.

Guo et al. 2017, arXiv:1706.04599; the error itself is metrics/ece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfllm.evaluation.intervals import Interval, bootstrap_statistic, bounded_mean, share
from hfllm.evaluation.measure import CONFIDENCE, ECE, Measure
from hfllm.evaluation.metrics import load_metric

BINS = 10


def calibration(pairs: Sequence[tuple[float, bool]]) -> list[tuple[Measure, Interval]]:
    """Mean confidence and expected calibration error of (confidence in [0, 1], right) pairs."""
    confidence, right = [sure for sure, _ in pairs], [float(right) for _, right in pairs]
    metric = load_metric("ece")

    def error(predictions: Any, references: Any) -> float:
        return metric._compute(predictions, references, bins=BINS)["ece"]

    return [
        (CONFIDENCE, bounded_mean(confidence)),
        (ECE, bootstrap_statistic([confidence, right], error)),
    ]


def reliability(pairs: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    """The bins that are not empty of the (confidence in [0, 1], right) pairs, for a plot.

    Returns:
        {"n", "confidence" (mean), "accuracy", "low" and "high" (its 95% interval)} per bin.
    """
    out = []
    for number in range(BINS):
        inside = [
            (sure, right)
            for sure, right in pairs
            # (lower, upper], with 0 in the first bin, as in metrics/ece
            if number < sure * BINS <= number + 1 or (number == 0 and sure == 0)
        ]
        if inside:
            accuracy = share([right for _, right in inside])
            mean = sum(sure for sure, _ in inside) / len(inside)
            out.append(
                {
                    "n": len(inside),
                    "confidence": mean,
                    "accuracy": accuracy.value,
                    "low": accuracy.low,
                    "high": accuracy.high,
                }
            )
    return out

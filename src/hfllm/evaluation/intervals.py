"""95% intervals: Wilson for shares, bootstrap for means, ratios and paired differences.

Shares get Wilson's interval, which stays inside [0, 1] and does not collapse at 0 of 20 as the
normal approximation does. Everything else gets a percentile bootstrap over rows: 2,000 resamples
with a fixed seed, so that the same results give the same table. Two models on the same prompts are
compared row by row, because the interval of their paired difference is much narrower than the
overlap of their two intervals suggests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959963984540054
RESAMPLES = 2000
CHUNK = 200  # resamples at a time: 200 x 10,000 rows of indices are 16 MB


class Interval(NamedTuple):
    """A value with the ends of its 95% interval, and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: float, n: int) -> Interval:
    """Share of successes with Wilson's score interval (Wilson 1927).

    `successes` may be a sum of scores in [0, 1]: their variance is at most that of a share with
    the same mean, so the interval is conservative.
    """
    assert n > 0 and -1e-9 <= successes <= n + 1e-9, (successes, n)
    share = min(max(successes / n, 0.0), 1.0)
    weight = 1 + Z95**2 / n
    middle = (share + Z95**2 / (2 * n)) / weight
    half = Z95 / weight * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return Interval(
        share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), n
    )


def share(flags: Sequence[bool]) -> Interval:
    """Share of true flags with Wilson's interval."""
    return wilson(sum(map(bool, flags)), len(flags))


def bounded_mean(scores: Sequence[float]) -> Interval:
    """Mean of scores in [0, 1] with Wilson's interval (conservative)."""
    return wilson(float(sum(scores)), len(scores))


def mean(values: Sequence[float]) -> Interval:
    """Mean with its bootstrap interval, which has no width for a single value."""
    return bootstrap(np.asarray(values, dtype=float)[:, None], lambda m: m[..., 0])


def ratio(above: Sequence[float], below: Sequence[float]) -> Interval:
    """sum(above) / sum(below) with its bootstrap interval over rows; used for bits per byte."""
    rows = np.stack([np.asarray(above, dtype=float), np.asarray(below, dtype=float)], axis=1)
    return bootstrap(rows, lambda m: m[..., 0] / np.maximum(m[..., 1], 1e-300))


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean of ours - theirs over the same rows, with its bootstrap interval."""
    assert len(ours) == len(theirs), "paired values must come from the same rows"
    return mean(
        np.subtract(np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)).tolist()
    )


def paired_ratio_difference(rows: Sequence[tuple[float, ...]]) -> Interval:
    """sum(a) / sum(b) - sum(c) / sum(d) over rows of (a, b, c, d), with its bootstrap interval."""
    return bootstrap(
        np.asarray(rows, dtype=float),
        lambda m: (
            m[..., 0] / np.maximum(m[..., 1], 1e-300) - m[..., 2] / np.maximum(m[..., 3], 1e-300)
        ),
    )


def bootstrap(rows: np.ndarray, of_means: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """Percentile bootstrap of a function of column means.

    Args:
        rows: (N, C) values.
        of_means: maps column means (..., C) to the statistic (...).
    """
    n = len(rows)
    assert n > 0, "no rows"
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES // CHUNK):
        counts = random.multinomial(n, np.full(n, 1 / n), size=CHUNK)  # (CHUNK, N)
        drawn.append(of_means(counts @ rows / n))
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    value = float(of_means(rows.mean(0)))
    return Interval(value, min(value, float(low)), max(value, float(high)), n)


def bootstrap_statistic(
    columns: Sequence[Sequence[float]], statistic: Callable[..., float], resamples: int = 400
) -> Interval:
    """Basic bootstrap of a statistic that is never negative, such as the calibration error.

    The basic interval is 2 * value - percentiles. Resampling biases such a statistic upwards about
    as much as sampling did, so the percentiles themselves would lie too high.

    Args:
        columns: C sequences of N values.
        statistic: function of the C resampled columns; called once per resample, so slower than
            `bootstrap`.
        resamples: number of resamples.
    """
    arrays = [np.asarray(column, dtype=float) for column in columns]
    n = len(arrays[0])
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        index = random.integers(0, n, n)
        drawn.append(statistic(*(array[index] for array in arrays)))
    value = float(statistic(*arrays))
    low, high = 2 * value - np.percentile(drawn, [97.5, 2.5])
    return Interval(value, min(value, max(0.0, float(low))), max(value, float(high)), n)

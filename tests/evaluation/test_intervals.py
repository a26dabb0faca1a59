"""95% intervals: Wilson and bootstrap."""

import numpy as np
import pytest

from hfllm.evaluation.intervals import (
    bootstrap_statistic,
    mean,
    paired_difference,
    paired_ratio_difference,
    ratio,
    share,
    wilson,
)
from hfllm.evaluation.metrics import load_metric


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_published_values(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == pytest.approx(successes / n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=5e-5)


def test_wilson_covers_the_truth_95_times_in_100():
    random = np.random.default_rng(1)
    for truth in (0.1, 0.5):
        hits = [
            interval.low <= truth <= interval.high
            for interval in (share(list(random.random(60) < truth)) for _ in range(1000))
        ]
        assert np.mean(hits) == pytest.approx(0.95, abs=0.025)


def test_bootstrap_of_a_mean_is_the_normal_interval_for_many_rows():
    values = np.random.default_rng(2).normal(3.0, 2.0, 400)
    interval = mean(values.tolist())
    half = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.04)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.04)
    assert interval == mean(values.tolist()), "the same table each time"


def test_ratio_weights_rows_by_their_size():
    interval = ratio([10.0, 300.0], [10, 100])
    assert interval.value == pytest.approx(310 / 110)
    constant = ratio([2.0, 20.0, 6.0], [1, 10, 3])
    assert (constant.value, constant.low, constant.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_paired_difference_is_tighter_than_two_intervals():
    random = np.random.default_rng(3)
    theirs = random.normal(0, 5, 100)
    ours = theirs + random.normal(0.5, 0.5, 100)
    gap = paired_difference(ours.tolist(), theirs.tolist())
    assert gap.value == pytest.approx((ours - theirs).mean())
    assert gap.low > 0.3 and gap.high < 0.7
    assert mean(ours.tolist()).low < mean(theirs.tolist()).high


def test_bootstrap_statistic_agrees_with_the_mean_bootstrap():
    values = np.random.default_rng(4).random(200).tolist()
    slow, fast = bootstrap_statistic([values], lambda v: v.mean(), 2000), mean(values)
    assert slow == pytest.approx(fast, abs=0.01)


def test_the_interval_of_a_calibration_error_reaches_down_to_a_calibrated_model():
    ece = load_metric("ece")._compute
    reached = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        confidence = random.random(200)
        right = random.random(200) < confidence  # the true error is 0, the measured one never
        found = bootstrap_statistic([confidence, right], lambda c, r: ece(c, r)["ece"], 100)
        assert found.low <= found.value <= found.high
        reached += found.low < 0.02
    assert reached >= 18


def test_one_row_has_no_width_and_n_says_so():
    assert mean([4.0]) == (4.0, 4.0, 4.0, 1)
    assert share([True]).low == pytest.approx(0.2065, abs=1e-3)


def test_a_gain_on_every_row_is_clear_though_the_rows_differ_more_than_the_models():
    random = np.random.default_rng(4)
    tokens, losses = random.integers(20, 90, 15), random.uniform(1.5, 4.0, 15)
    before, after = losses * tokens, (losses - random.uniform(0.05, 0.4, 15)) * tokens
    gap = paired_ratio_difference(list(zip(after, tokens, before, tokens, strict=True)))
    one, other = ratio(list(after), list(tokens)), ratio(list(before), list(tokens))
    assert gap.value == pytest.approx(one.value - other.value) and gap.n == 15
    assert gap.high < 0 and one.high > other.low

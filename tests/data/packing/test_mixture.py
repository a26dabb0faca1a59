"""The order of training rows: shares to within one row, whole epochs, a function of the step."""

import random

import numpy as np
import pytest

from hfllm.data.packing.mixture import MixtureDataset, epochs, mixture_order

SIZES = {"books": 37, "web": 400, "chats": 5}
WEIGHTS = {"books": 0.5, "web": 0.3, "chats": 0.2}


@pytest.mark.parametrize("seed", range(8))
def test_every_prefix_has_the_shares_to_within_one_row(seed):
    rng = random.Random(seed)
    names = [f"s{i}" for i in range(rng.randrange(1, 8))]
    weights = {name: rng.random() ** 3 + 1e-3 for name in names}
    sizes = {name: rng.randrange(1, 50) for name in names}
    order = mixture_order(sizes, weights, 700, seed)
    steps = np.arange(1, 701)
    for i, name in enumerate(names):
        share = weights[name] / sum(weights.values())
        assert np.abs(np.cumsum(order[:, 0] == i) - steps * share).max() < 1


def test_each_epoch_of_a_source_is_a_new_permutation():
    order = mixture_order(SIZES, WEIGHTS, 600, seed=0)
    rows = order[order[:, 0] == 0, 1]
    first, second = rows[:37], rows[37:74]
    assert sorted(first) == sorted(second) == list(range(37))
    assert first.tolist() != second.tolist()


def test_by_size_one_pass_is_every_row_once():
    order = mixture_order(SIZES, None, sum(SIZES.values()), seed=3)
    assert len({tuple(pair) for pair in order.tolist()}) == sum(SIZES.values())


def test_longer_runs_begin_with_the_shorter_run():
    short, long = (mixture_order(SIZES, WEIGHTS, n, seed=1) for n in (150, 900))
    assert (long[:150] == short).all()


def test_order_depends_on_the_seed_and_not_on_other_sources():
    base = mixture_order(SIZES, WEIGHTS, 300, seed=0)
    assert (base == mixture_order(SIZES, WEIGHTS, 300, seed=0)).all()
    assert (base != mixture_order(SIZES, WEIGHTS, 300, seed=1)).any()
    more = mixture_order({**SIZES, "maths": 9}, {**WEIGHTS, "maths": 0.4}, 300, seed=0)
    for source in range(3):
        before, after = (order[order[:, 0] == source, 1] for order in (base, more))
        assert (before[: len(after)] == after).all()


def test_zero_weight_is_never_drawn_and_epochs_are_counted():
    order = mixture_order(SIZES, {"books": 1, "web": 1, "chats": 0}, 148, seed=0)
    assert epochs(order, SIZES) == {"books": 2.0, "web": 74 / 400, "chats": 0.0}


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        (SIZES, {"books": 1.0}, "chats, web has no weight or no rows"),
        (SIZES, {**WEIGHTS, "wbe": 1}, "wbe has no weight or no rows"),
        (SIZES, {**WEIGHTS, "web": -1}, "web: weight -1"),
        (SIZES, {**WEIGHTS, "web": float("nan")}, "web: weight nan"),
        ({**SIZES, "web": 0}, WEIGHTS, "web has weight 0.3, but no rows"),
        (SIZES, dict.fromkeys(SIZES, 0), "sum to 0"),
        ({}, None, "sum to 0"),
    ],
)
def test_refusals(sizes, weights, message):
    with pytest.raises(ValueError, match=message):
        mixture_order(sizes, weights, 10, seed=0)


def test_dataset_serves_rows_in_that_order():
    datasets = {name: [{"row": (name, i)} for i in range(size)] for name, size in SIZES.items()}
    data = MixtureDataset(datasets, WEIGHTS, 120, seed=5)
    names = list(SIZES)
    expected = [(names[s], int(r)) for s, r in mixture_order(SIZES, WEIGHTS, 120, seed=5)]
    assert [row["row"] for row in data] == expected
    assert len(data) == 120
    assert data.epochs["chats"] == pytest.approx(24 / 5)

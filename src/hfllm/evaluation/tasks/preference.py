"""The "preference" task: a reward model's accuracy on pairs {"prompt", "chosen", "rejected"}.

In total and per source, with the accuracy of the rule that looks at the length alone as baseline.
"""

from __future__ import annotations

from typing import Any

from hfllm.evaluation.intervals import Interval, share, wilson
from hfllm.evaluation.measure import (
    ACCURACY,
    CHOSEN_LONGER,
    LENGTH_ACCURACY,
    PICKS_LONGER,
    Measure,
)
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.specs import Result, TaskSpec, check_finite, result
from hfllm.evaluation.subsets import source_of, subsets_of
from hfllm.inference.reward_model import RewardModel
from hfllm.training.preference import characters_more, longer_wins


def score(
    tested: RewardModel, name: str, spec: TaskSpec
) -> tuple[list[Result], list[dict[str, Any]]]:
    """Agreement with the pairs, in total and per source; no items.

    Args:
        tested: the reward model.
        name: name of the task.
        spec: pairs of conversations.
    """
    rows = spec.taken()
    scores = tested.score(
        [([*row["prompt"], *row[side]], True) for side in ("chosen", "rejected") for row in rows],
        f"{tested.name}: {name}",
    )
    check_finite(scores, f"{tested.name}: {name}")
    chosen, rejected = scores[: len(rows)], scores[len(rows) :]
    longer = [characters_more(row) for row in rows]
    scored = list(zip(chosen, rejected, longer, strict=True))
    return [
        result(tested.name, subset, measure, interval)
        for subset, at in subsets_of(name, [source_of(row) for row in rows]).items()
        for measure, interval in agreement([scored[i] for i in at])
    ], []


def agreement(scored: list[tuple[float, float, int]]) -> list[tuple[Measure, Interval]]:
    """Metrics of (score of the chosen, of the rejected, characters more in the chosen) pairs."""
    n = len(scored)
    chosen, rejected, gaps = zip(*scored, strict=True)
    metric = load_metric("pair_accuracy")
    accuracy = metric.compute(predictions=chosen, references=rejected)["accuracy"]
    longer = longer_wins(gaps)
    picks_longer = [(c > r) == (more > 0) for c, r, more in scored if more]
    out = [
        (ACCURACY, wilson(accuracy * n, n)),
        # the better of "longer wins" and "shorter wins"
        (LENGTH_ACCURACY, wilson(max(longer, 1 - longer) * n, n)),
        (CHOSEN_LONGER, wilson(longer * n, n)),
    ]
    return out + ([(PICKS_LONGER, share(picks_longer))] if picks_longer else [])

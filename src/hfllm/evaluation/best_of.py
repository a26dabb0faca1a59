"""Best of n: what a reward model buys without training, beside what PPO buys with it.

N answers are sampled to each prompt (temperature 1); of n of them the reward model's favourite is
taken. Figures are expectations over all choices of n among the N (Nakano et al. 2021,
arXiv:2112.09332), so one sampling serves every n, and n = 1 is sampling itself: the other tasks'
answers are greedy. The favourite is at most log n - (n - 1)/n nats away from the model (Gao et al.
2022, arXiv:2210.10760).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

from hfllm.evaluation.intervals import Interval, bounded_mean, mean
from hfllm.evaluation.measure import (
    ACCURACY,
    ANSWER_TOKENS,
    ENDED,
    KL_AT_MOST,
    REWARD,
    SHARE,
    TRUE_SCORE,
    Measure,
)
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.scorers import Scorers, add_rewards
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks.answers import Sample

Ask = Callable[[ModelUnderTest, str, TaskSpec], list[Sample]]
MARKS: dict[Measure, Callable[[Sample], float | None]] = {
    ACCURACY: lambda s: None if s.correct is None else float(s.correct),
    ENDED: lambda s: float(s.ended),
    ANSWER_TOKENS: lambda s: float(s.tokens),
    TRUE_SCORE: lambda s: s.true_score,
    REWARD: lambda s: s.reward,
}


def best_of(
    tested: ModelUnderTest,
    name: str,
    spec: TaskSpec,
    ask: Ask,
    scorers: Scorers,
) -> list[Result]:
    """Results `TASK/best_of_N` of the favourites of each n, and how far they can be away.

    Args:
        tested: the model, a chat model.
        name: the task's.
        spec: its rows.
        ask: what answers the rows.
        scorers: the reward model, and each n; as many answers as the largest are sampled to each
            prompt.
    """
    many = max(scorers.best_of)
    rows = [row for row in map(without_choices, spec.taken()) for _ in range(many)]
    sampling = copy.copy(tested.generator)
    sampling.temperature = 1.0
    samples = ask(
        dataclasses.replace(tested, generator=sampling),
        name,
        dataclasses.replace(spec, rows=rows, limit=None),
    )
    add_rewards(samples, scorers.reward)
    by_prompt = [samples[i : i + many] for i in range(0, len(samples), many)]
    for group in by_prompt:
        group.sort(key=lambda sample: sample.reward or 0.0)
    out = []
    for n in scorers.best_of:
        subset, weights = f"{name}/best_of_{n}", favourite_weights(many, n)
        for measure, mark in MARKS.items():
            values = [[mark(sample) for sample in group] for group in by_prompt]
            if any(value is None for group in values for value in group):
                continue
            expected = [
                sum(w * (v or 0.0) for w, v in zip(weights, g, strict=True)) for g in values
            ]
            spread = bounded_mean if measure.unit == SHARE else mean
            out.append(result(tested.spec.name, subset, measure, spread(expected)))
        nats = math.log(n) - (n - 1) / n
        bound = Interval(nats, nats, nats, len(by_prompt))
        out.append(result(tested.spec.name, subset, KL_AT_MOST, bound))
    return out


def without_choices(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its choices as rivals: graded alike, but how sure the model is of its choices
    is not measured for each sample anew.
    """
    if not row.get("choices"):
        return row
    return row | {"choices": None, "rivals": [*(row.get("rivals") or ()), *row["choices"]]}


def favourite_weights(many: int, n: int) -> list[float]:
    """How often each rank, worst first, is the best of n drawn from `many` without repetition."""
    return [math.comb(rank - 1, n - 1) / math.comb(many, n) for rank in range(1, many + 1)]

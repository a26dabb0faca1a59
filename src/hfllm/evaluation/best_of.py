"""Best-of-n sampling: of n sampled answers the reward model's highest-scored one is graded.

The baseline for PPO: it uses the same reward model without training. N answers are sampled to each
prompt at temperature 1, N being the largest n. Each metric is its expected value over all subsets
of n of the N answers (Nakano et al. 2021, arXiv:2112.09332), so the N answers are enough for every
n. n = 1 is plain sampling, whereas the tasks themselves decode greedily. The KL divergence of
best-of-n from the model is at most log n - (n - 1)/n nats (Gao et al. 2022, arXiv:2210.10760).
Cost: N times the generation of the tasks.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence

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
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.scorers import Scorers, add_rewards
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, result

Ask = Callable[[ModelUnderTest, str, TaskSpec], list[Sample]]
# The value of one sample; None: not graded, and the metric is left out for its task.
VALUES: dict[Measure, Callable[[Sample], float | None]] = {
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
    """Results `TASK/best_of_n` for each n: the metrics of VALUES, and the bound of the KL.

    Args:
        tested: the model that is sampled from.
        name: name of the task.
        spec: the task's rows.
        ask: the task's function that answers and grades rows.
        scorers: `best_of`, the values of n; `reward`, the reward model.
    """
    many = max(scorers.best_of)
    rows = [row for row in map(graded_alone, spec.taken()) for _ in range(many)]
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
        subset, weights = f"{name}/best_of_{n}", rank_weights(many, n)
        for measure, value_of in VALUES.items():
            values = [[value_of(sample) for sample in group] for group in by_prompt]
            if any(value is None for group in values for value in group):
                continue
            expected = [_weighted(weights, [v or 0.0 for v in group]) for group in values]
            interval = bounded_mean if measure.unit == SHARE else mean
            out.append(result(tested.spec.name, subset, measure, interval(expected)))
        nats = math.log(n) - (n - 1) / n
        bound = Interval(nats, nats, nats, len(by_prompt))
        out.append(result(tested.spec.name, subset, KL_AT_MOST, bound))
    return out


def graded_alone(row: TestRow) -> TestRow:
    """The row with its `choices` moved to `rivals`, and without its own `reply`.

    Answers are graded as before, but what costs forward passes for each sample is not measured: the
    confidence in the choices and the loss on the reply.
    """
    row = {key: value for key, value in row.items() if key != "reply"}
    if not row.get("choices"):
        return row
    return row | {"choices": None, "rivals": [*(row.get("rivals") or ()), *row["choices"]]}


def rank_weights(many: int, n: int) -> list[float]:
    """Probability of each rank, lowest first, to be the best of n drawn from `many` without
    replacement.
    """
    return [math.comb(rank - 1, n - 1) / math.comb(many, n) for rank in range(1, many + 1)]


def _weighted(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def scores_by_n(groups: Sequence[Sequence[float]]) -> dict[int, Interval]:
    """{n: mean score of the best of n answers}, n being 1, 2, 4, ... and the number of answers.

    Args:
        groups: the scores of each prompt's answers, as many for every prompt.
    """
    many = len(groups[0])
    ranked = [sorted(group) for group in groups]
    powers = [2**i for i in range(many.bit_length()) if 2**i < many]
    return {
        n: mean([_weighted(rank_weights(many, n), group) for group in ranked])
        for n in (*powers, many)
    }

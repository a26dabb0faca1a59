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

from hfllm.evaluation.intervals import Interval, bounded_mean, mean
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.scorers import Judges, add_rewards
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks.answers import Sample

Ask = Callable[[ModelUnderTest, str, TaskSpec], list[Sample]]
MARKS: dict[str, Callable[[Sample], float | None]] = {
    "accuracy": lambda s: None if s.correct is None else float(s.correct),
    "ended": lambda s: float(s.ended),
    "answer_tokens": lambda s: float(s.tokens),
    "true_score": lambda s: s.true_score,
    "reward": lambda s: s.reward,
}
SHARES = ("accuracy", "ended", "true_score")


def best_of(
    tested: ModelUnderTest,
    name: str,
    spec: TaskSpec,
    ask: Ask,
    judges: Judges,
) -> list[Result]:
    """Results `TASK/best_of_N` of the favourites of each n, and how far they can be away.

    Args:
        tested: the model, a chat model.
        name: the task's.
        spec: its rows.
        ask: what answers the rows.
        judges: the reward model, and each n; as many answers as the largest are sampled to each
            prompt.
    """
    many = max(judges.best_of)
    # Without choices: how sure the model is of them would be measured for each sample anew.
    rows = [{k: v for k, v in row.items() if k != "choices"} for row in spec.taken()]
    rows = [row for row in rows for _ in range(many)]
    sampling = copy.copy(tested.generator)
    sampling.temperature = 1.0
    samples = ask(
        dataclasses.replace(tested, generator=sampling),
        name,
        dataclasses.replace(spec, rows=rows, limit=None),
    )
    add_rewards(samples, judges.reward)
    by_prompt = [samples[i : i + many] for i in range(0, len(samples), many)]
    for group in by_prompt:
        group.sort(key=lambda sample: sample.reward or 0.0)
    out = []
    for n in judges.best_of:
        part, weights = f"{name}/best_of_{n}", favourite_weights(many, n)
        for metric, mark in MARKS.items():
            values = [[mark(sample) for sample in group] for group in by_prompt]
            if any(value is None for group in values for value in group):
                continue
            expected = [
                sum(w * (v or 0.0) for w, v in zip(weights, g, strict=True)) for g in values
            ]
            spread = bounded_mean if metric in SHARES else mean
            out.append(result(tested.spec.name, part, metric, spread(expected)))
        nats = math.log(n) - (n - 1) / n
        bound = Interval(nats, nats, nats, len(by_prompt))
        out.append(result(tested.spec.name, part, "kl_at_most", bound))
    return out


def favourite_weights(many: int, n: int) -> list[float]:
    """How often each rank, worst first, is the best of n drawn from `many` without repetition."""
    return [math.comb(rank - 1, n - 1) / math.comb(many, n) for rank in range(1, many + 1)]

"""Paired differences: each model minus the one before it in the list, row by row.

Each is the difference of the two values in the table of results, over the rows that both models
have: of means, and for the loss on given replies of ratios (nats per token, pooled over the rows,
as the loss itself is).

Rows are answers (samples.jsonl), or rows that were scored by likelihood (items.jsonl).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.intervals import Interval, paired_difference, paired_ratio_difference
from hfllm.evaluation.measure import (
    ACC,
    ACC_NORM,
    ACCURACY,
    ANSWER_TOKENS,
    ENDED,
    LOOPING,
    REPLY_LOSS,
    REWARD,
    TRUE_SCORE,
    Measure,
)
from hfllm.evaluation.sample import Sample

MEANS = {
    ACCURACY: "correct",
    TRUE_SCORE: "true_score",
    REWARD: "reward",
    ENDED: "ended",
    ANSWER_TOKENS: "tokens",
    LOOPING: "looping",
}
RATIOS = {REPLY_LOSS: ("reply_nats", "reply_tokens")}
LIKELIEST = {"right": ACC, "right_norm": ACC_NORM, "greedy": ACC}  # column of an item -> measure
Pair = tuple[Sample, Sample]  # of one row: the model's, the one before it
Item = Mapping[str, Any]  # a line of items.jsonl


def differences(samples: list[Sample], models: list[str]) -> list[dict[str, Any]]:
    """Differences between neighbours in the list of models, in every measure of single rows.

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
            pairs = [(by_model[after][key], by_model[before][key]) for key in keys]
            head = {"model": after, "baseline": before, "task": task}
            out += [head | {"metric": m.name, **gap._asdict()} for m, gap in _gaps(pairs)]
    return out


def item_differences(items: Sequence[Item], models: Sequence[str]) -> list[dict[str, Any]]:
    """As `differences`, of rows that were scored by likelihood; every model has the same rows."""
    found: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        found.setdefault((item["task"], item["model"]), []).append(item)
    out = []
    for task in dict.fromkeys(task for task, _ in found):
        for before, after in zip(models, models[1:], strict=False):
            theirs, ours = found.get((task, before), []), found.get((task, after), [])
            if not ours or [i["id"] for i in ours] != [i["id"] for i in theirs]:
                continue
            for key, measure in LIKELIEST.items():
                if key in ours[0] and key in theirs[0]:
                    gap = paired_difference([i[key] for i in ours], [i[key] for i in theirs])
                    head = {"model": after, "baseline": before, "task": task}
                    out.append(head | {"metric": measure.name, **gap._asdict()})
    return out


def _gaps(pairs: list[Pair]) -> list[tuple[Measure, Interval]]:
    """The difference in every measure that some row has values of, for both models."""
    out = []
    for measure, name in MEANS.items():
        if found := _both(pairs, name):
            out.append((measure, paired_difference(*zip(*found, strict=True))))
    for measure, (above, below) in RATIOS.items():
        if rows := _both(pairs, above, below):
            out.append((measure, paired_ratio_difference(rows)))
    return out


def _both(pairs: list[Pair], *names: str) -> list[tuple[float, ...]]:
    """Per row that has all values, the model's and then those of the one before it."""
    rows = [tuple(getattr(sample, name) for sample in pair for name in names) for pair in pairs]
    return [row for row in rows if None not in row]

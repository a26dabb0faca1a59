"""The "choices" task: multiple choice by log-likelihood, as in lm-eval.

A row is {"query", "choices", "gold"}, {"context_options", "continuation", "gold"} (one text after
each of several contexts, WinoGrande) or a pair {"sentence_good", "sentence_bad"} (BLiMP); published
shapes (ARC, MMLU, HellaSwag, ...) are converted (shapes.py). Metrics, in total and per `field`
where rows have one:

- `acc`: the choice with the largest sum of token log-likelihoods is the right one;
- `acc_norm`: the same for the sum per character (not for pairs);
- calibration: the softmax over the sums is the confidence (not for pairs).

Each accuracy comes with the accuracy of random guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hfllm.evaluation.accepted import named
from hfllm.evaluation.calibration import calibration
from hfllm.evaluation.fit_positions import fitted
from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import ACC, ACC_NORM
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.shapes import as_test_row
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, check_finite, result
from hfllm.evaluation.subsets import subsets_of
from hfllm.inference.loglik import token_scores

Item = dict[str, Any]  # record of one row, a line of items.jsonl


def score(tested: ModelUnderTest, name: str, spec: TaskSpec) -> tuple[list[Result], list[Item]]:
    """Accuracies and calibration, and one item per row.

    Args:
        tested: the model.
        name: name of the task.
        spec: rows in one of the three forms.

    Raises:
        ValueError: a row has none of the three forms, its gold is no choice, or a choice is
            longer than the model's positions.
    """
    rows = spec.taken()
    options = [as_options(row) for row in rows]
    label = f"{tested.spec.name}: {name}"
    given = zip(rows, options, strict=True)
    scored = fitted(tested, label, [(row, *text) for row, (texts, _) in given for text in texts])
    found = iter(token_scores(tested.model, scored, label))
    items = []
    for number, (row, (texts, gold)) in enumerate(zip(rows, options, strict=True)):
        sums = [next(found).total() for _ in texts]
        check_finite(sums, f"{label}: row {row.get('id', number)}")
        rates = [s / max(1, len(t.strip())) for s, (_, t) in zip(sums, texts, strict=True)]
        items.append({"id": str(row.get("id", number)), **item_of(sums, rates, gold)})
    fields = [str(row.get("field", "")).replace("/", "_") for row in rows]
    is_pair = ["sentence_good" in row for row in rows]
    out = [
        one
        for subset, at in subsets_of(name, fields).items()
        for one in results_of(
            tested.spec.name, subset, [items[i] for i in at], all(is_pair[i] for i in at)
        )
    ]
    return out, items


def item_of(sums: list[float], rates: list[float], gold: int) -> Item:
    """Which choice of a row is the likeliest; the first of equal ones.

    Args:
        sums: log-likelihood of each choice, in nats.
        rates: the same per character.
        gold: index of the right choice.
    """
    best = sums.index(max(sums))
    return {
        "gold": gold,
        "logprobs": sums,
        "right": best == gold,
        "right_norm": rates.index(max(rates)) == gold,
        "confidence": float(torch.tensor(sums, dtype=torch.float64).softmax(0)[best]),
    }


def results_of(model: str, task: str, items: Sequence[Item], pairs: bool) -> list[Result]:
    """Accuracies with that of random guessing, and calibration.

    Args:
        model: name of the model.
        task: name of the task, or `task/subset`.
        items: records of its rows.
        pairs: whether all rows are pairs, for which `acc` alone is defined.
    """
    chance = sum(1 / len(item["logprobs"]) for item in items) / len(items)
    out = [result(model, task, ACC, share([item["right"] for item in items]), chance)]
    if pairs:
        return out
    out.append(result(model, task, ACC_NORM, share([i["right_norm"] for i in items]), chance))
    sure = [(item["confidence"], item["right"]) for item in items]
    return out + [result(model, task, measure, at) for measure, at in calibration(sure)]


def as_options(row: TestRow) -> tuple[list[tuple[str, str]], int]:
    """A row's (context, continuation) pairs, and the index of the right one.

    Raises:
        ValueError: the row has no shape of a choices test, or a value of another type.
    """
    with named(row):
        row = as_test_row(row, "choices")
    if row.get("sentence_good") is not None:
        return [("", row["sentence_good"]), ("", row["sentence_bad"])], 0
    if row.get("context_options") is not None:
        pairs = [(context, " " + row["continuation"]) for context in row["context_options"]]
        return pairs, row["gold"]
    query = row["query"]
    if query.startswith("Question:") and not query.rstrip().endswith("Answer:"):
        query = query.rstrip() + "\nAnswer:"
    return [(query, " " + text) for text in row["choices"]], row["gold"]

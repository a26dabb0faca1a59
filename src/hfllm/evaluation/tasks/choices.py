"""The "choices" task: which of the choices does the model find likeliest?

A row is {"query", "choices", "gold"}, {"context_options", "continuation", "gold"} (one text after
each of several contexts, WinoGrande) or a pair {"sentence_good", "sentence_bad"} (BLiMP). Scores:
`acc` by the sum of the tokens' log-likelihoods; but for pairs, `acc_norm` by that sum per character
(both as lm-eval); calibration, the softmax over the sums being the confidence. In total and per
`field`, where the rows have one. Beside each accuracy stands what guessing gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hfllm.evaluation.calibration import calibration
from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import ACC, ACC_NORM
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.subsets import subsets_of
from hfllm.inference.loglik import continuation, split_continuation, token_scores
from hfllm.inference.prompts import positions

Row = dict[str, Any]
FORMS = (
    ("sentence_good", "sentence_bad"),
    ("context_options", "continuation", "gold"),
    ("query", "choices", "gold"),
)


def score(tested: ModelUnderTest, name: str, spec: TaskSpec) -> tuple[list[Result], list[Row]]:
    """Results, and one record per row: the choices' log-likelihoods and what was picked."""
    rows = spec.taken()
    options = [as_options(row) for row in rows]
    scored = [
        continuation(*split_continuation(tested.tokenizer, context, text), positions(tested.model))
        for texts, _ in options
        for context, text in texts
    ]
    found = iter(token_scores(tested.model, scored, f"{tested.spec.name}: {name}"))
    items = []
    for number, (row, (texts, gold)) in enumerate(zip(rows, options, strict=True)):
        sums = [next(found).total() for _ in texts]
        rates = [s / max(1, len(t.strip())) for s, (_, t) in zip(sums, texts, strict=True)]
        items.append({"id": str(row.get("id", number)), **picked(sums, rates, gold)})
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


def picked(sums: list[float], rates: list[float], gold: int) -> Row:
    """What the log-likelihoods choose, in sum and per character; the first where two are equal."""
    best = sums.index(max(sums))
    return {
        "gold": gold,
        "logprobs": sums,
        "right": best == gold,
        "right_norm": rates.index(max(rates)) == gold,
        "confidence": float(torch.tensor(sums, dtype=torch.float64).softmax(0)[best]),
    }


def results_of(model: str, task: str, items: Sequence[Row], pairs: bool) -> list[Result]:
    """Accuracies beside the chance of guessing, and calibration."""
    chance = sum(1 / len(item["logprobs"]) for item in items) / len(items)
    out = [result(model, task, ACC, share([item["right"] for item in items]), chance)]
    if pairs:
        return out
    out.append(result(model, task, ACC_NORM, share([i["right_norm"] for i in items]), chance))
    marks = [(item["confidence"], item["right"]) for item in items]
    return out + [result(model, task, measure, at) for measure, at in calibration(marks)]


def as_options(row: Row) -> tuple[list[tuple[str, str]], int]:
    """A row's (context, continuation) pairs and which one is right.

    Raises:
        ValueError: the row has none of the three forms, or its gold is no choice.
    """
    form = next((keys for keys in FORMS if row.get(keys[0])), ())
    if not form or any(row.get(key) in (None, "", []) for key in form):
        forms = " or ".join(" + ".join(keys) for keys in FORMS)
        has = ", ".join(key for key, value in row.items() if value not in (None, "", []))
        raise ValueError(
            f"row {row.get('id', '?')}: a `choices` row has {forms}; this one has {has}"
        )
    if form[0] == "sentence_good":
        return [("", row["sentence_good"]), ("", row["sentence_bad"])], 0
    if form[0] == "context_options":
        pairs = [(context, " " + row["continuation"]) for context in row["context_options"]]
    else:
        query = row["query"]
        if query.startswith("Question:") and not query.rstrip().endswith("Answer:"):
            query = query.rstrip() + "\nAnswer:"
        pairs = [(query, " " + choice) for choice in row["choices"]]
    gold = int(row["gold"])
    if not 0 <= gold < len(pairs):
        raise ValueError(f"row {row.get('id', '?')}: gold {gold} is none of {len(pairs)} choices")
    return pairs, gold

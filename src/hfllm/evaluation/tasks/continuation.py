"""The "continuation" task: {"context", "continuation"}, such as LAMBADA.

Metrics as in lm-eval: `acc`, whether greedy decoding gives exactly the continuation, and
`perplexity`, exp(-mean log-likelihood) with the mean over rows, so per continuation and not per
token.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hfllm.evaluation.accepted import named, place
from hfllm.evaluation.fit_positions import fitted
from hfllm.evaluation.intervals import bootstrap, share
from hfllm.evaluation.measure import ACC, PERPLEXITY
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.published import text_of
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, check_finite, result
from hfllm.inference.loglik import token_scores

MAX_LOG = 700.0  # exp of more overflows a float


def score(
    tested: ModelUnderTest, name: str, spec: TaskSpec
) -> tuple[list[Result], list[dict[str, Any]]]:
    """Accuracy and perplexity, and one item per row.

    Args:
        tested: the model.
        name: name of the task.
        spec: rows with `context` and `continuation`.

    Raises:
        ValueError: a row lacks `context` or `continuation`.
    """
    rows = spec.taken()
    label = f"{tested.spec.name}: {name}"
    scored = fitted(tested, label, [(row, *context_and_text(row, name)) for row in rows])
    found = token_scores(tested.model, scored, label)
    items = [
        {
            "id": str(row.get("id", i)),
            "logprob": scores.total(),
            "greedy": bool(scores.greedy.all()),
        }
        for i, (row, scores) in enumerate(zip(rows, found, strict=True))
    ]
    logprobs = np.array([[scores.total()] for scores in found])
    check_finite(logprobs[:, 0].tolist(), label)
    perplexity = bootstrap(logprobs, lambda means: np.exp(np.minimum(-means[..., 0], MAX_LOG)))
    return [
        result(tested.spec.name, name, ACC, share([bool(item["greedy"]) for item in items])),
        result(tested.spec.name, name, PERPLEXITY, perplexity),
    ], items


def context_and_text(row: TestRow, name: str) -> tuple[str, str]:
    """The row's context and continuation, with a space between them if neither has one."""
    if not row.get("context") or not row.get("continuation"):
        raise ValueError(
            f"{place(row)} of {name}: a `continuation` row has context and continuation; this one "
            f"has {', '.join(k for k, v in row.items() if v)}"
        )
    with named(row):
        context, text = text_of(row, "context"), text_of(row, "continuation")
    return context, text if context[-1].isspace() or text[0].isspace() else f" {text}"

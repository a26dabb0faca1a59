"""Fit the texts of test rows into a model's positions: what is cut is counted and said."""

from __future__ import annotations

from collections.abc import Iterable

from hfllm.evaluation.accepted import named
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import TestRow
from hfllm.inference.cut import say_cut
from hfllm.inference.loglik import continuation, split_continuation
from hfllm.inference.prompts import positions
from hfllm.modeling.batching import ScoringRequest


def fitted(
    tested: ModelUnderTest, label: str, texts: Iterable[tuple[TestRow, str, str]]
) -> list[ScoringRequest]:
    """One request per text; a context that does not fit is cut on the left, counted and said.

    Args:
        tested: the model.
        label: begins the printed line.
        texts: (test row, context, continuation).

    Raises:
        ValueError: a continuation alone exceeds the model's positions; names the row.
    """
    limit, cut, requests = positions(tested.model), 0, []
    for row, context, text in texts:
        before, ids = split_continuation(tested.tokenizer, context, text)
        with named(row):
            requests.append(continuation(before, ids, limit))
        cut += requests[-1].start < len(before)
    say_cut(label, cut, len(requests), limit)
    return requests

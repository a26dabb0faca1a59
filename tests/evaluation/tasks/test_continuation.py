"""The `continuation` task: exact continuations and perplexity."""

import math

import pytest
import torch
from evaluation_rows import by_metric, total

from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import continuation
from hfllm.inference.prompts import encode_prompt
from hfllm.tokenization.encode import encode_text


def test_a_continuation_is_said_or_not_and_has_a_perplexity(tested):
    start = encode_prompt(tested.tokenizer, "Number 4 is")
    ids = list(start)
    with torch.no_grad():
        for _ in range(3):  # what greedy decoding says
            ids.append(int(tested.model(torch.tensor([ids])).logits[0, -1].argmax()))
    said = tested.tokenizer.decode(ids[len(start) :])
    again = encode_prompt(tested.tokenizer, "Number 4 is" + said)
    rows = [
        {"context": "Number 4 is", "continuation": said},
        {"context": "Number 4 is", "continuation": "cats"},
    ]
    results, items = continuation.score(tested, "lambada", TaskSpec("continuation", rows))
    found = by_metric(results)
    assert [item["greedy"] for item in items] == [again == ids, False]
    cats = total(tested.model, start, encode_text(tested.tokenizer, " cats"))
    assert items[1]["logprob"] == pytest.approx(cats, rel=1e-5)
    mean = sum(item["logprob"] for item in items) / 2
    assert found["lambada", "perplexity"]["value"] == pytest.approx(math.exp(-mean))
    with pytest.raises(ValueError, match="row 3 of lambada: a `continuation` row has context and"):
        continuation.score(
            tested,
            "lambada",
            TaskSpec("continuation", [{"id": "3", "context": "a", "answer": "b"}]),
        )

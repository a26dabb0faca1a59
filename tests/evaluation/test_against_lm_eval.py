"""The log-likelihoods behind `choices` and `bits_per_byte` equal those of lm-eval."""

import pytest

from hfllm.evaluation.tasks.choices import as_options
from hfllm.inference.loglik import (
    continuation,
    document_nats,
    split_continuation,
    token_logprobs,
)

pytestmark = pytest.mark.slow

ROWS = [
    {"query": "Question: Who is number 4?", "choices": ["a baker", "cats", "Good."], "gold": 0},
    {"query": "Number 12 is ", "choices": ["a baker", "number 7"], "gold": 1},
    {"sentence_good": "Who is a baker?", "sentence_bad": "Who a baker is?"},
]


def harness(model, tokenizer, add_bos_token):
    pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        device="cpu",
        add_bos_token=add_bos_token,
        batch_size=2,
    )


def request(kind, arguments):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def test_choices(model, tokenizer):
    pairs = [pair for row in ROWS for pair in as_options(row)[0]]
    rows = [continuation(*split_continuation(tokenizer, *pair), 96) for pair in pairs]
    ours = [float(scores.sum()) for scores in token_logprobs(model, rows)]
    theirs = harness(model, tokenizer, True).loglikelihood(
        [request("loglikelihood", pair) for pair in pairs]
    )
    assert ours == pytest.approx([value for value, _ in theirs], rel=1e-4)


def test_documents(model, tokenizer):
    texts = ["Number 4 is a baker with 4 cats.", "Caf\u00e9 \u2603"]
    ours = document_nats(model, tokenizer, texts)
    asked = [request("loglikelihood_rolling", (text,)) for text in texts]
    # lm-eval puts a bos of its own before the text: with the tokenizer's there would be two
    judge = harness(model, tokenizer, False)
    theirs = [-value for value in judge.loglikelihood_rolling(asked)]
    assert ours == pytest.approx(theirs, rel=1e-4)

"""An evaluation without a finite value, without rows or with most of them left out is not done."""

from pathlib import Path

import pytest
import torch
from evaluation_rows import answer_row

from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.intervals import Interval
from hfllm.evaluation.measure import ACCURACY
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.run import CHAT_ONLY, SCORED, check, evaluate_models
from hfllm.evaluation.specs import ModelSpec, TaskSpec, result
from hfllm.evaluation.tasks import answers
from hfllm.inference.generate import Generator


@pytest.mark.parametrize(
    "interval",
    [Interval(float("nan"), 0, 1, 3), Interval(0, 0, float("inf"), 3), Interval(0.5, 0, 1, 0)],
)
def test_no_result_is_nan_or_of_no_rows(interval):
    with pytest.raises(ValueError, match="sft: quiz: accuracy is .* rows, which is no result"):
        result("sft", "quiz", ACCURACY, interval)


@pytest.fixture()
def overflowing(own_model, tokenizer):
    """A model whose weights are finite and whose scores are not."""
    with torch.no_grad():
        own_model.lm_head.weight.fill_(3e38)
    generator = Generator(own_model, tokenizer, batch_size=4)
    return ModelUnderTest(ModelSpec("bad", Path("bad")), own_model, tokenizer, generator)


ROWS = {
    "bits_per_byte": [{"text": "Number 4 is a baker."}],
    "choices": [{"query": "A?", "choices": ["x", "y"], "gold": 0}],
    "continuation": [{"context": "A", "continuation": "x"}],
}


@pytest.mark.parametrize("kind", SCORED)
def test_scores_that_overflow_are_refused(overflowing, kind):
    """Of NaN the first choice is the likeliest: the accuracy would look like one."""
    with pytest.raises(ValueError, match="bad: quiz.*; look at its training"):
        SCORED[kind].score(overflowing, "quiz", TaskSpec(kind, ROWS[kind]))


def test_so_is_a_confidence(overflowing):
    with pytest.raises(ValueError, match="look at its training"):
        answers.ask(overflowing, "quiz", TaskSpec("answers", [answer_row(1)], None, 2))


@pytest.mark.parametrize("kind", CHAT_ONLY)
def test_a_test_that_no_model_can_take_is_refused(kind, tmp_path):
    assert kind in TASK_KINDS
    base = ModelSpec("base", tmp_path / "nowhere", chat=False)
    with pytest.raises(ValueError, match="task 'quiz' needs a chat model, and none is under test"):
        evaluate_models([base], {"quiz": TaskSpec(kind, [{"prompt": "Why?"}])}, tmp_path)
    both = [base, ModelSpec("sft", tmp_path / "nowhere")]
    check(both, {"quiz": TaskSpec(kind, [{"prompt": "Why?"}])}, None)

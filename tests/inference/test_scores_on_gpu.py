"""Scores and answers are the same on a GPU: `pytest -m gpu` on a machine that has one."""

import copy

import pytest
import torch

from hfllm.inference.generate import Generator
from hfllm.inference.load import load_model
from hfllm.inference.loglik import token_scores
from hfllm.inference.relevance import RelevanceJudge
from hfllm.modeling.batching import ScoringRequest

pytestmark = pytest.mark.gpu
PROMPTS = [[{"role": "user", "content": f"Who is number {i}? No comma."}] for i in range(12)]
LIMIT = [{"kind": "no_comma", "text": "No comma."}]


@pytest.fixture
def both(model):
    """The model in float32 on the CPU, and a copy of it on the GPU."""
    return model, copy.deepcopy(model).cuda()


def test_log_likelihoods(both):
    rows = [ScoringRequest([1, 5, 9, *range(20, 20 + n)], 3) for n in range(1, 40)]
    shared = [ScoringRequest([*range(10, 30), i, i + 1], 20) for i in range(30, 34)]
    here, there = (token_scores(m, rows + shared) for m in both)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one.logprobs, other.logprobs, atol=1e-3, rtol=1e-3)


def test_greedy_answers(both, tokenizer):
    here, there = (Generator(m, tokenizer, batch_size=5).answer(PROMPTS, 16) for m in both)
    same = sum(one.ids == other.ids for one, other in zip(here, there, strict=True))
    assert same >= len(PROMPTS) - 1  # a tie may fall the other way


def test_the_judge(both, tokenizer):
    answers = [f"Number {i} is a baker with {i} cats." for i in range(len(PROMPTS))]
    judges = [RelevanceJudge(m, tokenizer) for m in both]
    here, there = (j.nats(PROMPTS, answers, [LIMIT] * len(PROMPTS)) for j in judges)
    assert here == pytest.approx(there, abs=0.02)
    assert len(set(here)) > 6


def test_a_folder_is_loaded_in_bf16(folder):
    model, _ = load_model(folder)
    assert model.device.type == "cuda"
    assert model.dtype == torch.bfloat16

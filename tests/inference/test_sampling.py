"""Tokens are drawn from the distribution of transformers' own logits processors."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hfllm.inference.sampling import Sampling, choose

VOCABULARY, DRAWS = 12, 20_000
SETTINGS = [
    Sampling(1.0),
    Sampling(0.5),
    Sampling(1.3, top_k=4),
    Sampling(1.0, top_p=0.7),
    Sampling(1.0, top_p=0.0),
    Sampling(0.8, min_p=0.2),
    Sampling(1.5, top_p=0.8, top_k=6, min_p=0.15),
]


def logits():
    return torch.randn((1, VOCABULARY), generator=torch.Generator().manual_seed(3)) * 2


def theirs(setting):
    chain = [TemperatureLogitsWarper(setting.temperature)]
    chain += [TopKLogitsWarper(setting.top_k)] if setting.top_k else []
    chain += [TopPLogitsWarper(max(setting.top_p, 1e-9))] if setting.top_p < 1 else []
    chain += [MinPLogitsWarper(setting.min_p)] if setting.min_p else []
    return LogitsProcessorList(chain)(None, logits()).softmax(-1)[0]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_shares_are_those_of_transformers_processors(setting):
    streams = [torch.Generator().manual_seed(0)] * DRAWS
    drawn = choose(logits().expand(DRAWS, -1), [setting] * DRAWS, streams)
    shares, expected = drawn.bincount(minlength=VOCABULARY) / DRAWS, theirs(setting)
    assert ((shares > 0) <= (expected > 0)).all()
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)


def test_a_row_is_drawn_alike_beside_any_others():
    many = torch.randn((len(SETTINGS), 50), generator=torch.Generator().manual_seed(5))

    def draw(rows):
        streams = [torch.Generator().manual_seed(i) for i in rows]
        return choose(many[rows], [SETTINGS[i] for i in rows], streams).tolist()

    rows = list(range(len(SETTINGS)))
    assert draw(rows) == [draw([i])[0] for i in rows]
    assert draw(rows[::-1]) == draw(rows)[::-1]


def test_greedy_rows_take_the_likeliest_token_and_no_random_number():
    stream = torch.Generator().manual_seed(0)
    before = stream.get_state()
    token = choose(logits().expand(3, -1), [Sampling(), Sampling(1e-9), Sampling()], [stream] * 3)
    assert token.tolist() == [int(logits().argmax())] * 3
    assert torch.equal(stream.get_state(), before)

"""Answers that would leave the model's positions are refused before training."""

from types import SimpleNamespace

import pytest

from hfllm.stages import ppo

LONGEST = 20


def check(positions: int | None, answer_tokens: int) -> None:
    config = SimpleNamespace(max_position_embeddings=positions)
    policy = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    ppo._check_positions(SimpleNamespace(name="ppo"), policy, LONGEST, answer_tokens)


def test_the_longest_prompt_and_answer_must_fit():
    check(30, 10)
    check(None, 10_000)
    with pytest.raises(ValueError, match=r"prompt \(20 tokens\).*beyond the model's 30 positions"):
        check(30, 11)

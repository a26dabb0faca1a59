"""Answers that would leave the model's positions are refused before training."""

from types import SimpleNamespace

import pytest

from hfllm.stages import ppo

PROMPTS = [{"prompt": [{"role": "user", "content": "x" * n}]} for n in (3, 20)]


def check(monkeypatch, positions: int | None, answer_tokens: int) -> None:
    monkeypatch.setattr(ppo, "render", lambda _, messages, **__: messages[0]["content"])
    config = SimpleNamespace(max_position_embeddings=positions)
    policy = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    ppo._check_positions(SimpleNamespace(name="ppo"), policy, None, PROMPTS, answer_tokens)


def test_the_longest_prompt_and_answer_must_fit(monkeypatch):
    check(monkeypatch, 30, 10)
    check(monkeypatch, None, 10_000)
    with pytest.raises(ValueError, match=r"prompt \(20 tokens\).*beyond the model's 30 positions"):
        check(monkeypatch, 30, 11)

"""Answers that would leave the model's positions are refused before training."""

from types import SimpleNamespace

import pytest

from hfllm.inference.relevance import ENOUGH
from hfllm.stages import ppo

LONGEST = 20
PAYS = "hfllm.rl.rewards:length_reward"


def check(positions: int | None, answer_tokens: int) -> None:
    config = SimpleNamespace(max_position_embeddings=positions)
    policy = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    ppo._check_positions(SimpleNamespace(name="ppo"), policy, LONGEST, answer_tokens)


def test_the_longest_prompt_and_answer_must_fit():
    check(30, 10)
    check(None, 10_000)
    with pytest.raises(ValueError, match=r"prompt \(20 tokens\).*beyond the model's 30 positions"):
        check(30, 11)


def test_a_judge_must_have_room_for_the_longest_answer(monkeypatch):
    config = SimpleNamespace(max_position_embeddings=64, get_text_config=lambda: config)
    judge = SimpleNamespace(model=SimpleNamespace(config=config))
    monkeypatch.setattr(ppo, "open_judge", lambda *_: judge)
    monkeypatch.setattr(ppo, "is_sharded", lambda _: False)
    monkeypatch.setattr(ppo, "matmul_parameters", lambda _: 1)
    asked = SimpleNamespace(reward_functions=[PAYS], judge="small", judge_nats=None)
    step = SimpleNamespace(name="ppo", model_of=lambda name: name)
    args = SimpleNamespace(bf16=False, max_completion_length=63)
    (counted,), size = ppo._functions(asked, step, args)
    assert counted.judge is judge and size == 2
    args.max_completion_length = 64
    with pytest.raises(ValueError, match="ppo.judge: small has 64 positions"):
        ppo._functions(asked, step, args)


def test_a_judge_of_0_nats_watches(monkeypatch):
    seen = []
    config = SimpleNamespace(max_position_embeddings=64, get_text_config=lambda: config)
    judge = SimpleNamespace(model=SimpleNamespace(config=config))
    monkeypatch.setattr(ppo, "open_judge", lambda _, enough, __: seen.append(enough) or judge)
    monkeypatch.setattr(ppo, "is_sharded", lambda _: False)
    monkeypatch.setattr(ppo, "matmul_parameters", lambda _: 1)
    step = SimpleNamespace(name="ppo", model_of=lambda name: name)
    args = SimpleNamespace(bf16=False, max_completion_length=8)
    for nats in (None, 0, 5.0):
        asked = SimpleNamespace(reward_functions=[PAYS], judge="small", judge_nats=nats)
        ppo._functions(asked, step, args)
    assert seen == [ENOUGH, 0, 5.0]

"""PPO refuses answers beyond the model's positions, and picks the critic, before training."""

from types import SimpleNamespace

import pytest

from hfllm.inference.relevance import ENOUGH
from hfllm.rl import build_rewards
from hfllm.rl.rollout_prompts import check_prompt_and_answer_fit
from hfllm.stages import ppo

LONGEST = 20
PAYS = "hfllm.rl.rewards:length_reward"


def check(positions: int | None, answer_tokens: int) -> None:
    config = SimpleNamespace(max_position_embeddings=positions)
    policy = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    check_prompt_and_answer_fit(SimpleNamespace(name="ppo"), policy, LONGEST, answer_tokens)


def test_the_longest_prompt_and_answer_must_fit():
    check(30, 10)
    check(None, 10_000)
    with pytest.raises(ValueError, match=r"prompt \(20 tokens\).*beyond the model's 30 positions"):
        check(30, 11)


def test_a_critic_that_reads_other_tokens_is_not_taken(capsys):
    def knows(**vocabulary):
        return SimpleNamespace(get_vocab=lambda: vocabulary)

    config = SimpleNamespace(reward="rm", init="base")
    step = SimpleNamespace(name="ppo", model_of=lambda name: f"/{name}")
    for theirs, expected in (
        ({"a": 0, "b": 1, "<pad>": 2}, "/rm"),  # more tokens than the policy's
        ({"b": 0, "a": 1}, "/base"),
        ({"a": 0}, "/base"),
    ):
        manifest = SimpleNamespace(notes=[])
        scorer = SimpleNamespace(tokenizer=knows(**theirs))
        assert ppo._critic(config, step, knows(a=0, b=1), scorer, manifest) == expected
        told = "ppo: the reward model has another vocabulary: the critic starts from `init` instead"
        assert [f"ppo: {note}" for note in manifest.notes] == [told] * (expected == "/base")
        assert (told in capsys.readouterr().out) == (expected == "/base")


@pytest.fixture()
def judge(monkeypatch):
    """A judge of 64 positions that is opened without a file; it keeps the nats it was asked for."""

    def opened(_folder, enough, _dtype):
        made.enough.append(enough)
        return made

    config = SimpleNamespace(max_position_embeddings=64, get_text_config=lambda: config)
    made = SimpleNamespace(model=SimpleNamespace(config=config), enough=[])
    monkeypatch.setattr(build_rewards, "open_judge", opened)
    monkeypatch.setattr(build_rewards, "is_sharded", lambda _: False)
    monkeypatch.setattr(build_rewards, "matmul_parameters", lambda _: 1)
    return made


def functions(
    answer_tokens: int, names: tuple[str, ...] = (), nats: float | None = None, floor=None
):
    asked = SimpleNamespace(
        reward_functions=names, judge="small", judge_nats=nats, length_floor=floor
    )
    step = SimpleNamespace(name="ppo", model_of=lambda name: name)
    args = SimpleNamespace(bf16=False, max_completion_length=answer_tokens)
    return build_rewards.build_reward_functions(asked, step, args)


def test_a_judge_must_have_room_for_the_longest_answer(judge):
    assert functions(63) == ([], 2)
    (counted,), size = functions(63, (PAYS,))
    assert counted.judge is judge and size == 2
    with pytest.raises(ValueError, match="ppo.judge: small has 64 positions"):
        functions(64)


def test_a_floor_stands_around_the_judge(judge):
    (counted,), size = functions(8, (PAYS,), floor=26)
    assert counted.floor == 26 and counted.function.judge is judge and size == 2
    assert counted.__name__ == "length_reward"


def test_a_judge_of_0_nats_watches(judge):
    for nats in (None, 0, 5.0):
        functions(8, (PAYS,), nats)
    assert judge.enough == [ENOUGH, 0, 5.0]

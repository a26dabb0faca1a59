"""What a program knows before the end: the regression on it, and a critic that is told."""

from statistics import median

import pytest
import torch
from rl_helpers import (
    assert_same,
    even_tokens,
    logged,
    resumed_from,
    rollout,
    straight_and_resumed,
    weights,
)

from hfllm.rl.privileged_critic import RunningRegression, beginnings
from hfllm.rl.rewards import CountedByLength, share_of_constraints

SHARED = {"shared_critic": True, "critic": None}


def alone(sums):
    return sums


def says_it(text):
    return float(any(letter in "abcdefgh" for letter in text))


def told():
    """A reward where one of a few letters stands anywhere, and its `so_far`: known once it does."""

    def function(completions, **_):
        return [says_it(one[-1]["content"]) for one in completions]

    def so_far(beginning, /, **row):
        assert "prompt" in row and "answer" in row
        return [says_it(beginning)]

    function.so_far = so_far
    return function


def test_a_regression_foretells_what_it_was_taught():
    torch.manual_seed(0)
    facts = torch.randint(0, 2, (32, 40, 3)).float()
    returns = 0.2 + facts @ torch.tensor([0.5, -0.1, 0.0])
    mask = (torch.rand(32, 40) > 0.3).float()
    regression = RunningRegression()
    assert (regression.foretell(facts) == 0).all()
    for _ in range(10):
        regression.update(facts, returns + 9 * (1 - mask), mask, alone)  # not of the masked
    assert (regression.foretell(facts) - returns).abs().max() < 0.03
    other = RunningRegression()
    other.load_state_dict(regression.state_dict())
    assert torch.equal(other.foretell(facts), regression.foretell(facts))


def test_few_data_foretell_the_mean_and_what_is_long_ago_is_forgotten():
    facts, ones = torch.eye(2).repeat(2, 1)[None], torch.ones(1, 4)  # (1, 4, 2)
    regression = RunningRegression()
    regression.update(facts, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), ones, alone)
    assert (regression.foretell(facts) - 0.5).abs().max() < 0.05
    for _ in range(60):
        regression.update(facts, 3 * ones, ones, alone)
    assert (regression.foretell(facts) - 3).abs().max() < 0.05


def test_sums_are_taken_over_processes():
    facts, returns, mask = torch.rand(2, 3, 2), torch.rand(2, 3), torch.ones(2, 3)
    one, two = RunningRegression(), RunningRegression()
    one.update(torch.cat([facts, facts]), torch.cat([returns] * 2), torch.cat([mask] * 2), alone)
    two.update(facts, returns, mask, lambda sums: 2 * sums)
    torch.testing.assert_close(one.state_dict(), two.state_dict())


def test_beginnings_are_the_text_before_each_token(tokenizer):
    ids = tokenizer("who is 日 7?").input_ids
    texts = list(beginnings(tokenizer, [*ids, 6]))
    assert len(texts) == len(ids) + 1 and texts[0] == ""
    assert texts[-1] == "who is 日 7?" and all("\ufffd" not in text for text in texts)
    for before, after in zip(texts, texts[1:], strict=False):
        assert after.startswith(before)

    class Slow:
        decode = tokenizer.decode

    ascii_ids = tokenizer("who is it?").input_ids
    assert list(beginnings(Slow(), ascii_ids)) == list(beginnings(tokenizer, ascii_ids))


def test_a_critic_that_is_told_explains_more(build):
    settings = {**SHARED, "learning_rate": 0.0, "beta": 0.0, "max_steps": 120}
    settings |= {"missing_eos_penalty": None, "lam": 1.0}
    explained = {}
    for name, on in (("told", True), ("not told", False)):
        trainer = build(reward_funcs=told(), informed_critic=on, **settings)
        trainer.train()
        every = logged(trainer, "value/explained_variance")  # None of a rollout of equal returns
        explained[name] = median(one for one in every[-15:] if one is not None)
    # Whether a letter will come is chance; what is foretold is that nothing can undo it.
    assert explained["told"] > 0.1 > 0.01 > explained["not told"]


def test_without_facts_nothing_changes(build):
    after = []
    for informed in (True, False):
        trainer = build(**SHARED, reward_funcs=even_tokens, informed_critic=informed)
        trainer.train()
        after.append(weights(trainer))
    assert_same(*after, atol=0, rtol=0)


def test_resumed_with_what_the_regression_had_learned(build):
    settings = {**SHARED, "reward_funcs": told()}
    straight, checkpoint, resumed = straight_and_resumed(build, **settings)
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    assert "told what function knows" in resumed.notes[-1]
    (checkpoint / "informed.pt").unlink()
    forgetful = resumed_from(checkpoint, build, **settings)
    assert "informed.pt, it learns from its facts anew" in forgetful.notes[-1]
    with pytest.raises(AssertionError):
        assert_same(weights(straight), weights(forgetful), atol=0, rtol=0)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [float("nan")], [None]])
def test_facts_of_another_number_or_none_are_refused(build, bad):
    function = told()
    function.so_far = lambda beginning, /, **_: bad if "a" in beginning else [0.0]
    with pytest.raises(
        ValueError, match="so_far of the reward function function gives .*1 numbers"
    ):
        build(**SHARED, reward_funcs=function).train()


def test_processes_that_know_another_number_of_facts_are_refused(build, monkeypatch):
    trainer = build(**SHARED, reward_funcs=told())
    other = torch.tensor([1.0, 3.0, 9.0])  # a second process with three facts
    monkeypatch.setattr(trainer, "_sum", lambda sums: sums + other)
    with pytest.raises(ValueError, match="so_far of function: the processes get another number"):
        trainer._check_same_count(torch.zeros(2, 3, 1))
    trainer._check_same_count(torch.zeros(2, 3, 3))


def test_a_checkpoint_of_other_facts_is_refused():
    regression = RunningRegression()
    regression.update(torch.rand(2, 3, 2), torch.rand(2, 3), torch.ones(2, 3), alone)
    with pytest.raises(ValueError, match="2 facts were learned of, 1 are given.*informed.pt"):
        regression.foretell(torch.rand(2, 3, 1))


def test_evaluation_does_not_teach_it(build, prompts):
    trainer = build(**SHARED, reward_funcs=told(), eval_dataset=prompts.select(range(4)))
    trainer.evaluate()
    assert trainer._regression.state_dict()["sums"] is None
    batch = rollout(trainer)
    assert trainer._regression.state_dict()["sums"] is not None
    assert "facts" not in batch and batch["informed"].shape == batch["values"].shape


def test_a_floor_of_length_hands_on_what_is_known():
    row = {"constraints": [{"kind": "lowercase"}], "prompt": "say it"}
    known = CountedByLength(share_of_constraints, 4).so_far
    assert known("A", **row) != known("a", **row) and sum(known("a", **row)) == 1
    assert sum(known("a", constraints=None)) == 0
    assert CountedByLength(even_tokens, 4).so_far is None

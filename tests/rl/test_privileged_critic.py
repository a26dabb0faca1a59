"""The privileged critic: prefix features, the ridge regression on them, PPO with both."""

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

from hfllm.rl.build_rewards import LengthFloorReward
from hfllm.rl.prefix_features import PrefixFeatures, prefixes
from hfllm.rl.privileged_critic import PrivilegedCritic, RidgeRegression
from hfllm.rl.rewards import share_of_constraints

SHARED = {"shared_critic": True, "critic": None}


def alone(sums):
    return sums


def says_it(text):
    return float(any(letter in "abcdefgh" for letter in text))


def told():
    """A reward where one of a few letters stands anywhere; its prefix_features say once it does."""

    def function(completions, **_):
        return [says_it(one[-1]["content"]) for one in completions]

    def prefix_features(prefix, /, **row):
        assert "prompt" in row and "answer" in row
        return [says_it(prefix)]

    function.prefix_features = prefix_features
    return function


def test_a_regression_predicts_what_it_was_taught():
    torch.manual_seed(0)
    features = torch.randint(0, 2, (32, 40, 3)).float()
    returns = 0.2 + features @ torch.tensor([0.5, -0.1, 0.0])
    mask = (torch.rand(32, 40) > 0.3).float()
    regression = RidgeRegression()
    assert (regression.predict(features) == 0).all()
    for _ in range(10):
        regression.update(features, returns + 9 * (1 - mask), mask, alone)  # not of the masked
    assert (regression.predict(features) - returns).abs().max() < 0.03
    other = RidgeRegression()
    other.load_state_dict(regression.state_dict())
    assert torch.equal(other.predict(features), regression.predict(features))


def test_few_data_predict_the_mean_and_what_is_long_ago_is_forgotten():
    features, ones = torch.eye(2).repeat(2, 1)[None], torch.ones(1, 4)  # (1, 4, 2)
    regression = RidgeRegression()
    regression.update(features, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), ones, alone)
    assert (regression.predict(features) - 0.5).abs().max() < 0.05
    for _ in range(60):
        regression.update(features, 3 * ones, ones, alone)
    assert (regression.predict(features) - 3).abs().max() < 0.05


def test_sums_are_taken_over_processes():
    features, returns, mask = torch.rand(2, 3, 2), torch.rand(2, 3), torch.ones(2, 3)
    one, two = RidgeRegression(), RidgeRegression()
    both = [torch.cat([x, x]) for x in (features, returns, mask)]
    one.update(*both, alone)
    two.update(features, returns, mask, lambda sums: 2 * sums)
    torch.testing.assert_close(one.state_dict(), two.state_dict())


def test_prefixes_are_the_text_before_each_token(tokenizer):
    ids = tokenizer("who is 日 7?").input_ids
    texts = list(prefixes(tokenizer, [*ids, 6]))
    assert len(texts) == len(ids) + 1 and texts[0] == ""
    assert texts[-1] == "who is 日 7?" and all("\ufffd" not in text for text in texts)
    for before, after in zip(texts, texts[1:], strict=False):
        assert after.startswith(before)

    class Slow:
        decode = tokenizer.decode

    ascii_ids = tokenizer("who is it?").input_ids
    assert list(prefixes(Slow(), ascii_ids)) == list(prefixes(tokenizer, ascii_ids))


def test_a_critic_that_is_told_explains_more(build):
    settings = {**SHARED, "learning_rate": 0.0, "beta": 0.0, "max_steps": 120}
    settings |= {"missing_eos_penalty": None, "lam": 1.0}
    explained = {}
    for name, on in (("told", True), ("not told", False)):
        trainer = build(reward_funcs=told(), privileged_critic=on, **settings)
        trainer.train()
        every = logged(trainer, "value/explained_variance")  # None of a rollout of equal returns
        explained[name] = median(one for one in every[-15:] if one is not None)
    # Whether a letter will come is chance; what is predicted is that nothing can undo it.
    assert explained["told"] > 0.1 > 0.01 > explained["not told"]


def test_without_features_nothing_changes(build):
    after = []
    for on in (True, False):
        trainer = build(**SHARED, reward_funcs=even_tokens, privileged_critic=on)
        trainer.train()
        after.append(weights(trainer))
    assert_same(*after, atol=0, rtol=0)


def test_resumed_with_what_the_regression_had_learned(build):
    settings = {**SHARED, "reward_funcs": told()}
    straight, checkpoint, resumed = straight_and_resumed(build, **settings)
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    assert "it reads the prefix_features of function" in resumed.notes[-1]
    (checkpoint / "privileged_critic.pt").unlink()
    forgetful = resumed_from(checkpoint, build, **settings)
    assert "privileged_critic.pt, it starts to learn again" in forgetful.notes[-1]
    with pytest.raises(AssertionError):
        assert_same(weights(straight), weights(forgetful), atol=0, rtol=0)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [float("nan")], [None]])
def test_features_of_another_number_or_none_are_refused(build, bad):
    function = told()
    function.prefix_features = lambda prefix, /, **_: bad if "a" in prefix else [0.0]
    with pytest.raises(
        ValueError, match="prefix_features of the reward function function gives .*1 numbers"
    ):
        build(**SHARED, reward_funcs=function).train()


def test_processes_that_know_another_number_of_features_are_refused(tokenizer):
    other = torch.tensor([1.0, 3.0, 9.0])  # a second process with three features
    sources = [PrefixFeatures("function", told().prefix_features)]
    critic = PrivilegedCritic(sources, tokenizer, lambda x: x + other if x.shape == (3,) else 2 * x)
    rows = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(
        ValueError, match="prefix_features of function: their number differs between processes"
    ):
        critic.update(torch.zeros(2, 3, 1), *rows)
    critic.update(torch.zeros(2, 3, 3), *rows)


def test_features_stand_before_each_token_and_are_zero_behind_the_answer(tokenizer):
    critic = PrivilegedCritic([PrefixFeatures("it", lambda text, **_: [len(text), 1])], tokenizer)
    ids = [tokenizer(text).input_ids for text in ("who", "who is it?")]
    features = critic.observe([{}, {}], ids, tokens=12)
    assert features.shape == (2, 12, 2)
    for row, answer in zip(features.tolist(), ids, strict=True):
        texts = list(prefixes(tokenizer, answer))
        assert row[: len(answer)] == [[len(text), 1] for text in texts]
        assert row[len(answer) :] == [[0, 0]] * (12 - len(answer))


def test_it_saves_and_loads_itself_also_from_a_file_of_its_old_name(tokenizer, tmp_path):
    sources = [PrefixFeatures("it", lambda text, **_: [len(text)])]
    critic, features = PrivilegedCritic(sources, tokenizer), torch.rand(2, 3, 1)
    critic.update(features, torch.rand(2, 3), torch.ones(2, 3))
    critic.save(tmp_path)
    for name in ("privileged_critic.pt", "informed.pt"):
        (tmp_path / "privileged_critic.pt").rename(tmp_path / name)
        other = PrivilegedCritic(sources, tokenizer)
        assert other.load(tmp_path) is None
        assert torch.equal(other.predict(features), critic.predict(features))


def test_without_sources_it_predicts_zeros_and_keeps_nothing(tokenizer, tmp_path):
    critic = PrivilegedCritic([], tokenizer)
    features = critic.observe([{}, {}], [[7], [8]], tokens=3)
    critic.update(features, torch.rand(2, 3), torch.ones(2, 3))
    assert torch.equal(critic.predict(features), torch.zeros(2, 3)) and critic.notes == []
    critic.save(tmp_path)
    assert list(tmp_path.iterdir()) == [] and critic.load(tmp_path) is None


def test_the_old_name_of_prefix_features_is_refused(build):
    def function(completions, **_):
        return [0.0] * len(completions)

    function.so_far = lambda text, **_: [0.0]
    with pytest.raises(ValueError, match="function has `so_far`: rename it to `prefix_features`"):
        build(**SHARED, reward_funcs=function)


def test_answers_with_tools_are_not_observed(tokenizer):
    sources = [PrefixFeatures("it", lambda text, **_: [len(text)])]
    critic = PrivilegedCritic(sources, tokenizer, has_tools=True)
    assert critic.sources == [] and "an answer with tools" in critic.notes[0]


def test_a_checkpoint_of_other_features_is_refused():
    regression = RidgeRegression()
    regression.update(torch.rand(2, 3, 2), torch.rand(2, 3), torch.ones(2, 3), alone)
    words = "learned from 2 features and is given 1.*privileged_critic.pt"
    with pytest.raises(ValueError, match=words):
        regression.predict(torch.rand(2, 3, 1))


def test_evaluation_does_not_teach_it(build, prompts):
    trainer = build(**SHARED, reward_funcs=told(), eval_dataset=prompts.select(range(4)))
    trainer.evaluate()
    assert trainer.privileged_critic.regression.state_dict()["sums"] is None
    batch = rollout(trainer)
    assert trainer.privileged_critic.regression.state_dict()["sums"] is not None
    assert "features" not in batch and batch["privileged_values"].shape == batch["values"].shape


def test_a_floor_of_length_hands_on_what_is_known():
    row = {"constraints": [{"kind": "lowercase"}], "prompt": "say it"}
    known = LengthFloorReward(share_of_constraints, 4).prefix_features
    assert known("A", **row) != known("a", **row) and sum(known("a", **row)) == 1
    assert sum(known("a", constraints=None)) == 0
    assert LengthFloorReward(even_tokens, 4).prefix_features is None


def test_prefix_features_of_another_shape_are_one_line():
    def fails(prefix, /, **row):
        return [1 / len(prefix)]

    wrong = {
        "the reward function f: too many positional arguments; .*columns answer": lambda: [0.0],
        "got an unexpected keyword argument 'answer'": lambda prefix: [0.0],
        "multiple values for argument 'answer'": lambda answer: [0.0],
        r"failed at .*test_privileged_critic.py:\d+: ZeroDivisionError": fails,
        "gives None for ''; return a list of numbers": lambda prefix, /, **row: None,
        "gives 0.5 for ''": lambda prefix, /, **row: 0.5,
        "gives ab for ''": lambda prefix, /, **row: "ab",
        r"gives \['a'\] for ''": lambda prefix, /, **row: ["a"],
        r"gives \[\] for ''": lambda prefix, /, **row: [],
        r"gives \[inf\]": lambda prefix, /, **row: [float("inf")],
    }
    for words, function in wrong.items():
        with pytest.raises(ValueError, match=words) as caught:
            PrefixFeatures("f", function).of(["", "a"], {"answer": "x"})
        assert "\n" not in str(caught.value)

"""What reward functions may return, and the one line that anything else is."""

import asyncio
import sys
from decimal import Decimal
from types import SimpleNamespace

import numpy
import pytest
import torch
from rl_helpers import logged

from hfllm.launch import _terminated
from hfllm.rl.build_rewards import JudgedReward, LengthFloorReward
from hfllm.rl.checked_reward import check_scores, checked
from hfllm.rl.meters import Meter
from hfllm.rl.reward_function_problems import function_problems
from hfllm.rl.scored_answers import ENOUGH, ScoredAnswers

GIVEN = {
    "prompts": [[{"role": "user", "content": f"Question {i}?"}] for i in range(3)],
    "completions": [[{"role": "assistant", "content": "a"}]] * 3,
    "completion_ids": [[1]] * 3,
    "id": [10, 11, 12],
}


def returning(value):
    def given(completions, **_):
        return value

    return checked(given)


@pytest.mark.parametrize(
    "value",
    [
        [1, 0.5, None],
        (1.0, 0.5, None),
        numpy.array([1.0, 0.5, 2.0]),
        torch.tensor([1.0, 0.5, 2.0]),
        [True, numpy.float32(0.5), torch.tensor(2)],
        [Decimal("1"), numpy.int64(0), None],
        (x for x in (1.0, 2.0, 3.0)),
    ],
)
def test_numbers_of_every_kind_and_none(value):
    found = returning(value)(**GIVEN)
    assert len(found) == 3 and all(x is None or type(x) is float for x in found)


WRONG = {
    "gave nan \\(float\\) for row 11, prompt 'Question 1\\?'; .*None where": [
        0.0,
        float("nan"),
        1.0,
    ],
    "gave inf .float. for row 12": [0.0, None, float("inf")],
    "gave -inf": [0.0, None, -float("inf")],
    "gave '1.0' .str. for row 10": ["1.0", 1.0, 1.0],
    "gave \\[1.0\\] .list. for row 10": [[1.0], 1.0, 1.0],
    "gave tensor\\(nan\\)": torch.tensor([0.0, 1.0, torch.nan]),
    "returned 1 values for 3 answers": [1.0],
    "returned 4 values for 3 answers": [1.0] * 4,
    "returned None; return a list": None,
    "returned 1.0; return a list": 1.0,
    "returned '111'": "111",
    "returned {'a': 1}": {"a": 1},
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_no_number_is_one_line_with_function_row_and_value(words):
    with pytest.raises(ValueError, match=f"^reward function given {words}") as caught:
        returning(WRONG[words])(**GIVEN)
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_fit_and_errors_name_the_function():
    def solves(completions, solution, **_):
        return [1.0] * len(completions)

    def narrow(completions):
        return [1.0] * len(completions)

    def broken(completions, **_):
        return [{}["key"] for _ in completions]

    for function, words in {
        solves: "solves: missing a required argument: 'solution'; .*completion_ids, id",
        narrow: "narrow: got an unexpected keyword argument 'prompts'; .*kwargs",
        broken: r"broken failed at .*test_checked_reward.py:\d+: KeyError: 'key'",
    }.items():
        with pytest.raises(ValueError, match=f"^reward function {words}") as caught:
            checked(function)(**GIVEN)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1e300, -1e39, 10**400], ids=str)
def test_a_number_that_float32_does_not_hold_is_told_as_one(value):
    with pytest.raises(ValueError, match="^reward function given gave -?1"):
        returning([0.0, 1.0, value])(**GIVEN)


def test_a_function_that_ends_the_program_is_one_line_and_our_own_signals_pass():
    def leaves(completions, **_):
        sys.exit(0)

    async def leaves_late(completions, **_):
        sys.exit(0)

    words = r"reward function leaves.* ends the program at .*py:\d+"
    with pytest.raises(ValueError, match=words):
        checked(leaves)(**GIVEN)
    with pytest.raises(ValueError, match=words):
        asyncio.run(checked(leaves_late)(**GIVEN))

    def stopped(completions, **_):
        _terminated()

    with pytest.raises(SystemExit):
        checked(stopped)(**GIVEN)


def test_async_functions_too():
    async def late(completions, **_):
        return [1.0, float("nan"), None]

    assert asyncio.iscoroutinefunction(type(checked(late)).__call__)
    with pytest.raises(ValueError, match="reward function late gave nan"):
        asyncio.run(checked(late)(**GIVEN))


def test_a_wrapper_that_changes_scores_refuses_an_async_function():
    async def late(completions, **_):
        return [1.0] * len(completions)

    for wrap in (lambda f: LengthFloorReward(f, 5), lambda f: JudgedReward(f, None)):
        for function in (late, checked(late)):
            with pytest.raises(
                ValueError, match="^reward function late is async, .*length_floor.*; make"
            ):
                wrap(function)


@pytest.mark.parametrize("given", [{"changed": True}, {"changed": False}])
def test_a_dry_run_refuses_it_too(given, tmp_path, monkeypatch):
    (tmp_path / "lately.py").write_text("async def late(completions, **_): return [1.0]")
    monkeypatch.syspath_prepend(tmp_path)
    found = list(function_problems(["lately:late"], ["prompt", "id"], **given))
    assert [line.split(" is async")[0] for line in found] == (
        ["reward_functions: reward function lately:late"] if given["changed"] else []
    )


def test_wrappers_keep_the_name_the_features_and_the_line():
    def short(completions, **_):
        return [1.0]

    short.prefix_features = lambda text, **_: [0.0]
    function = checked(LengthFloorReward(checked(short), 5))
    assert checked(function) is function
    assert function.__name__ == "short" and function.prefix_features is short.prefix_features
    with pytest.raises(ValueError, match="^reward function short returned 1 values"):
        function(**GIVEN)


def test_a_reward_model_of_its_own_library_is_checked_too():
    model = torch.nn.Linear(1, 1)
    scores = torch.tensor([[1.0, torch.nan], [2.0, 1.0]])  # a function's NaN is its None
    check_scores(scores, [model, len], ["model", "len"])
    with pytest.raises(ValueError, match="the reward model model gives nan"):
        check_scores(scores, [len, model], ["len", "model"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1"])
def test_the_trainer_stops_at_the_first_wrong_score(build, value):
    def wrong(completions, **_):
        return [value, *[1.0] * (len(completions) - 1)]

    with pytest.raises(ValueError, match="^reward function wrong gave"):
        build(reward_funcs=wrong).train()


def test_a_run_in_which_nothing_was_scored_is_no_success(build):
    def never(completions, **_):
        return [None] * len(completions)

    with pytest.raises(ValueError, match="no reward function scored any of 8 sampled answers"):
        build(reward_funcs=never).train()


def test_what_was_not_scored_is_counted_and_said_also_over_a_resume(build, capsys):
    def some(completion_ids, **_):
        return [1.0 if row % 4 else None for row in range(len(completion_ids))]

    settings = dict(reward_funcs=some, save_strategy="steps", save_steps=3)
    straight = build(**settings, max_steps=8)
    straight.train()
    assert logged(straight, "completions/unscored")[0] == 0.25
    line = "4 of 16 sampled answers were scored by no reward function and taught nothing"
    assert straight.notes.count(line) == 1 and line in capsys.readouterr().out
    resumed = build(**settings, max_steps=8)
    resumed.train(resume_from_checkpoint=f"{straight.args.output_dir}/checkpoint-6")
    assert resumed.notes.count(line) == 1


def test_after_enough_answers_it_need_not_go_on():
    meter = Meter({"train": {"completions/unscored": []}}, lambda: "train", lambda x: x)
    answers = ScoredAnswers(meter, lambda x: x, print)
    nothing = torch.zeros(ENOUGH - 1, dtype=torch.bool)
    assert answers.count(nothing, training=True) == 0.0
    answers.count(nothing, training=False)  # an evaluation does not count
    with pytest.raises(ValueError, match=f"any of {ENOUGH} sampled answers"):
        answers.count(nothing[:1], training=True)
    answers = ScoredAnswers(meter, lambda x: x, print)
    answers.count(~nothing[:1], training=True)
    answers.count(nothing, training=True)
    stopped = SimpleNamespace(global_step=1, max_steps=9)
    answers.on_train_end(None, stopped, None)

"""Every number of a recipe has a range, and a wrong one is a line that names its key."""

import dataclasses
import math
from typing import get_args, get_type_hints

import pytest

from hfllm.recipe import ranges
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.ranges import Range, problem_of
from hfllm.recipe.trainer_values import TRAINER_RANGES
from hfllm.recipe.trainers import build_trainer_config, trainer_class
from hfllm.rl import group_keys, ppo_keys
from hfllm.runs.preflight import preflight
from hfllm.stages import find_stages

STAGES = find_stages()
OWN_CHECK = {"vocab_size"}  # of a tokenizer: a reason stands in its message
NOT_OURS = {"local_rank", "label_smoothing"}  # the launcher's; the loss decides (dpo)


def parts(hint):
    """A type and all types inside it."""
    yield hint
    for inner in get_args(hint):
        yield from parts(inner)


def is_number(hint):
    return bool({int, float} & set(parts(hint)))


def unranged(config, seen):
    """The numeric fields without a range of a config class and of those inside it."""
    hints = get_type_hints(config)
    for item in dataclasses.fields(config):
        if is_number(hints[item.name]) and "range" not in item.metadata:
            yield item.name
        for inner in filter(dataclasses.is_dataclass, parts(hints[item.name])):
            if inner not in seen:
                yield from unranged(inner, seen | {inner})


@pytest.mark.parametrize("name", STAGES)
def test_every_number_of_a_stage_declares_its_range(name):
    assert set(unranged(STAGES[name].config, {SourceConfig})) <= OWN_CHECK
    assert list(unranged(SourceConfig, set())) == []


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if stage.trains])
def test_every_number_of_a_trainer_has_a_range(name):
    stage, made = STAGES[name], trainer_class(STAGES[name])
    fields = {item.name: item for item in dataclasses.fields(made)}
    numbers = {key for key, hint in get_type_hints(made).items() if is_number(hint)} & set(fields)
    known = set(TRAINER_RANGES) | set(stage.ranges)
    refused = set(stage.set_elsewhere)
    keys = {"ppo": ppo_keys.REFUSED, "grpo": group_keys.REFUSED, "rloo": group_keys.REFUSED}
    refused |= {*keys[name], *ppo_keys.REFUSED_OF_TRAINER} if name in keys else set()
    assert numbers - known - refused - NOT_OURS == set()
    values = {key: item.default for key, item in fields.items()} | stage.default_values()
    table = TRAINER_RANGES | dict(stage.ranges)
    assert list(ranges.table_problems(values, table)) == []  # the defaults are in their ranges


@pytest.mark.parametrize(
    ("allowed", "words", "inside", "outside"),
    [
        (Range(1), "1 or more", [1, 2.5, 1e9], [0, -1]),
        (Range(0, above=True), "above 0", [1e-9], [0, -1]),
        (Range(0, 1), "from 0 to 1", [0, 1], [-0.1, 1.1]),
        (Range(0, 1, below=True), "0 or more and below 1", [0, 0.9], [1, -1]),
        (Range(0, 1, above=True), "above 0 and at most 1", [1, 0.1], [0, 2]),
        (Range(), "a finite number", [-5, 5], []),
    ],
)
def test_a_range_contains_what_its_words_say(allowed, words, inside, outside):
    assert str(allowed) == words
    assert all(value in allowed for value in inside)
    for value in (*outside, math.nan, math.inf, -math.inf):
        assert value not in allowed
        assert problem_of("a.b", value, allowed) == f"a.b: must be {words}, not {value}"
    assert problem_of("a.b", None, allowed) is problem_of("a.b", [], allowed) is None


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize(
    "key",
    ["sft.trainer.learning_rate", "sft.data.seq_len", "seed", "vars.x", "sft.peft.lora_dropout",
     "sft.trainer.lr_scheduler_kwargs.min_lr_ratio", "launch.accelerate_args[0]"],
)  # fmt: skip
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(workspace, key, value):
    place, item = key.partition("[")[0], value
    with pytest.raises(RecipeError) as caught:
        workspace.load(f"{place}=[{item}]" if "[" in key else f"{place}={item}")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{key}: ") and problem.endswith(
        " is no finite number; write one, or leave the key out"
    )


def test_an_infinity_of_a_models_config_stays(workspace):
    recipe = workspace.load("pretrain.model={model_type: mamba2, time_step_limit: [0.0, .inf]}")
    assert recipe.steps["pretrain"].config.model["time_step_limit"] == [0.0, math.inf]
    with pytest.raises(RecipeError, match="pretrain.model.x: nan is no finite number"):
        workspace.load("pretrain.model={x: .nan}")


PPO = {"init": "sft", "reward": None, "reward_functions": ["hfllm.rl.rewards:length_reward"],
       "data": {"mixture": [{"path": "data/prompts.jsonl"}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("temperature", "0", "must be above 0, not 0.0"),
        ("max_completion_length", "0", "must be 1 or more, not 0"),
        ("beta", "-1", "must be 0 or more, not -1.0"),
        ("epsilon", "-1", "must be above 0, not -1.0"),
        ("top_p", "0", "must be above 0 and at most 1, not 0.0"),
        ("top_p", "1.5", "must be above 0 and at most 1, not 1.5"),
        ("steps_per_generation", "0", "must be 1 or more, not 0"),
        ("learning_rate", "5", "must be from 0 to 1, not 5.0"),
        ("learning_rate", "nan", "must be from 0 to 1, not nan"),
        ("weight_decay", "-1", "must be 0 or more, not -1.0"),
        ("num_train_epochs", "-1", "must be 0 or more, not -1.0"),
        ("warmup_steps", "-1", "must be 0 or more, not -1.0"),
        ("per_device_train_batch_size", "0", "must be 1 or more, not 0"),
        ("max_steps", "-5", "must be -1 or more, not -5"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_key_when_the_section_is_built(
    workspace, key, value, words
):
    workspace.recipe({"ppo": PPO})
    spec = workspace.load(f"ppo.trainer.{key}={value}").steps["ppo"]
    with pytest.raises(ValueError) as caught:
        build_trainer_config(spec, 0, "out")
    assert str(caught.value) == f"ppo.trainer.{key}: {words}"


def test_all_numbers_out_of_range_are_told_at_once(workspace):
    workspace.recipe({"evaluate": {"models": ["a/b"], "batch_size": 0, "best_of": [0], "tasks": {
        "t": {"kind": "replies", "source": {"path": "data/chats.jsonl", "limit": 0},
              "max_new_tokens": 0}}}})  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        preflight(workspace.load(), ["evaluate"], with_trainers=False)
    below = [line for line in caught.value.problems if "must be" in line]
    assert below == [
        "evaluate.tasks.t.source.limit: must be 1 or more, not 0",
        "evaluate.tasks.t.max_new_tokens: must be 1 or more, not 0",
        "evaluate.best_of: must be from 1 to 64, not 0",
        "evaluate.batch_size: must be 1 or more, not 0",
    ]


@pytest.mark.parametrize("given", ["[1,2]", "[]"])
def test_reward_weights_are_counted_before_the_run(workspace, given):
    workspace.recipe({"ppo": PPO})
    with pytest.raises(RecipeError) as caught:
        preflight(
            workspace.load(f"ppo.trainer.reward_weights={given}"), ["ppo"], with_trainers=False
        )
    (problem,) = caught.value.problems
    count = 2 if given == "[1,2]" else 0
    assert problem == (
        f"ppo.trainer.reward_weights: {count} weights for 1 reward(s) "
        "(hfllm.rl.rewards:length_reward); give each of them one"
    )

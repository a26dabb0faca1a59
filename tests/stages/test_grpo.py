"""GRPO as a stage: what it promises in a recipe, and what it refuses before a run."""

import json
from importlib.util import find_spec
from typing import Any

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.runs.preflight import preflight
from hfllm.training.defaults import Machine, choose_defaults
from tiny import DROP, Workspace, merge

PAYS = "hfllm.rl.rewards:length_reward"
TRAINER = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 8,
    "learning_rate": 1e-3,
    "bf16": False,
    "use_cpu": True,
}
TINY: dict[str, Any] = {
    "data": {"mixture": [{"path": "data/prompts.jsonl"}]},
    "reward_functions": [PAYS],
    "trainer": TRAINER,
}
VARIANTS: list[Any] = [
    {"trainer": {"num_iterations": 2}},  # killed inside a rollout
    {"trainer": {"steps_per_generation": 2, "beta": 0.1, "loss_type": "dr_grpo"}},
    {
        "peft": {"r": 2, "target_modules": ["q_proj"]},
        "trainer": {"beta": 0.1, "num_iterations": 2, "generate_dtype": "bfloat16"},
    },
]


def problems(space: Workspace, *overrides: str) -> list[str]:
    """What the checks before a run find wrong with the tiny recipe's step `grpo`."""
    space.recipe({"grpo": merge(TINY, {"reward": None})})
    try:
        preflight(space.load(*overrides), ["grpo"])
    except RecipeError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("use_vllm", "true", "use_vllm: needs the package vllm, and a GPU; install it, or leave"),
        ("eval_strategy", "steps", "eval_strategy: steps, but grpo holds no rows out"),
        ("reward_weights", "[1.0, 2.0]", "reward_weights: 2 weights for 1 reward(s)"),
        ("num_generations", "3", "num_generations: groups of 3 answers do not fill a rollout of 4"),
        ("num_generations", "1", "num_generations: must be 2 or more, not 1"),
        ("loss_type", "dapo2", ": GRPO cannot use loss_type=dapo2; use grpo, dr_grpo, dapo, bnpo"),
        ("kl_in_reward", "true", "kl_in_reward: Key 'kl_in_reward' not in 'GRPOConfig'"),
        ("max_completion_length", "null", "max_completion_length: null; set the longest answer"),
    ],
)
def test_what_does_not_go_is_one_line_before_a_run(trained, key, value, line):
    if key == "use_vllm" and find_spec("vllm"):
        pytest.skip("vllm is installed")
    (found,) = problems(trained, f"grpo.trainer.{key}={value}")
    assert line in found and found.startswith("grpo.trainer")


def test_the_tiny_recipe_is_sound(trained):
    assert problems(trained) == []
    assert problems(trained, "grpo.trainer.scale_rewards=false") == []


@pytest.mark.parametrize("stage", ["ppo", "grpo", "rloo"])
def test_a_recipe_moves_between_the_three_by_the_stages_name(trained, stage):
    keys = {"stage": stage, "reward": None, "length_floor": 4}
    shared = {"num_generations": 2, "missing_eos_penalty": 0.5, "generate_dtype": "bfloat16",
              "beta": 0.1, "num_iterations": 1}  # fmt: skip
    trained.recipe({"rl": merge(TINY, {**keys, "trainer": shared})})
    preflight(trained.load(), ["rl"], with_rows=True)


@pytest.mark.parametrize(
    ("answers", "processes", "rows"), [(8, 1, None), (6, 1, 36), (8, 3, 16), (8, 4, 8)]
)
def test_a_batch_that_the_recipe_leaves_out_holds_whole_groups(trained, answers, processes, rows):
    trainer = {"num_generations": answers, "per_device_train_batch_size": DROP}
    trained.recipe({"grpo": merge(TINY, {"reward": None, "trainer": trainer})})
    recipe = trained.load()
    choose_defaults(recipe, ["grpo"], Machine(64 * 2**30, processes, False, False))
    chosen = recipe.steps["grpo"].chosen
    assert (chosen["per_device_train_batch_size"][0] if rows else chosen) == (rows or {})


def test_a_reward_model_and_functions_weigh_as_the_recipe_says(trained):
    """The reward model stands first; truncated answers pay, and the card and manifest say it."""
    trained.run("reward")
    trainer = {"reward_weights": [0.5, 2.0], "max_steps": 2, "logging_steps": 1}
    trained.recipe({"grpo": merge(TINY, {"reward": "reward", "trainer": trainer})})
    step = trained.run("grpo")
    rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    for row in (row for row in rows if "reward" in row):
        parts = (0.5, "reward_model"), (2.0, "length_reward"), (1.0, "missing_end")
        paid = sum(weight * row[f"rewards/{name}/mean"] for weight, name in parts)
        assert row["reward"] == pytest.approx(paid, abs=1e-5)

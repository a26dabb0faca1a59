"""`hfllm show` prints every value with its origin."""

import re

import pytest
import yaml
from typer.testing import CliRunner

from hfllm.cli import app
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.show import show_recipe
from hfllm.recipe.trainers import installed_key, trainer_class
from tiny import DROP


def shown(workspace, *overrides, step="pretrain", everything=False):
    """{key: (value, origin)} of one step."""
    out = {}
    for line in show_recipe(workspace.load(*overrides), step, everything):
        body, _, origin = line.partition("  # ")
        key, _, value = body.strip().partition(": ")
        out[key] = (value.strip(), origin)
    return out


def test_each_value_tells_where_it_comes_from(workspace):
    lines = shown(workspace, "pretrain.trainer.max_steps=7", everything=True)
    assert lines["trainer.max_steps"] == ("7", "override")
    assert lines["trainer.learning_rate"] == ("0.001", "recipe")
    value, origin = lines["trainer.adam_beta2"]
    assert (value, origin.split(":")[0]) == ("0.95", "hfllm default")
    assert "loss spikes" in origin  # with its reason
    assert lines["trainer.adam_beta1"] == ("0.9", "library default")
    assert lines["data.seq_len"] == ("64", "recipe")
    assert lines["data.max_heldout_tokens"] == ("100000", "hfllm default")


def test_the_machines_choice_is_told_as_such(workspace):
    assert shown(workspace, step="reward")["trainer.bf16"] == ("false", "recipe")
    workspace.recipe({"reward": {"trainer": {"bf16": DROP}}})
    assert shown(workspace, step="reward")["trainer.bf16"][1] == "this machine"


def test_library_defaults_are_left_out_unless_asked_for(workspace):
    assert "trainer.adam_beta1" not in shown(workspace)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("pretrain.data.mixture[0].limit=3", "data.mixture"),
        ("pretrain.trainer={max_steps: 3}", "trainer.max_steps"),
        ("pretrain.model.hidden_size=48", "model.hidden_size"),
    ],
)
def test_overrides_of_parts_count_as_overrides(workspace, override, key):
    lines = shown(workspace, override)
    assert lines[key][1] == "override"
    assert lines["trainer.learning_rate"][1] == "recipe"


@pytest.mark.parametrize("name", ["activation_checkpointing", "gradient_checkpointing"])
def test_a_renamed_key_counts_under_either_name(workspace, name):
    line = shown(workspace, f"pretrain.trainer.{name}=true")
    here = installed_key(
        name, trainer_class(workspace.load().stages["pretrain"]).__dataclass_fields__
    )
    assert line[f"trainer.{here}"] == ("true", "override")


def test_the_head_of_a_step_names_stage_and_parents(workspace):
    lines = list(show_recipe(workspace.load(), "ppo"))
    assert lines[0] == "# recipe.yaml -> runs/tiny, seed 0"
    assert "ppo:  # stage ppo  # reads sft, reward" in lines


def test_all_steps_are_shown_and_checked(workspace):
    text = "\n".join(show_recipe(workspace.load()))
    for name in ("tokenizer:", "pretrain:", "sft:", "reward:", "ppo:"):
        assert f"\n{name}" in text
    with pytest.raises(RecipeError, match="Did you mean"):
        list(show_recipe(workspace.load("sft.trainer.learning_rat=1")))


def test_an_unknown_step_is_told_with_those_that_exist(workspace):
    with pytest.raises(ValueError, match="no step 'sfft'. Did you mean: 'sft'"):
        list(show_recipe(workspace.load(), "sfft"))


def test_a_trainer_classs_own_defaults_are_shown_with_their_help(workspace):
    """They are no library's: nobody could look them up there."""
    lines = shown(workspace, step="ppo")
    assert lines["trainer.num_iterations"][0] == "2"
    assert lines["trainer.num_iterations"][1].startswith("hfllm default: PPO epochs over")
    assert lines["trainer.beta"][1].startswith("hfllm default: KL coefficient")
    assert lines["trainer.lam"] == (
        "0.95", "hfllm default: GAE's lambda: 1 is Monte Carlo, 0 is one-step TD."
    )  # fmt: skip
    assert "trainer.epsilon" not in lines  # TRL's
    assert shown(workspace, "ppo.trainer.lam=0.9", step="ppo")["trainer.lam"] == ("0.9", "override")


def test_a_reward_model_that_is_not_needed_is_shown_as_implied(workspace):
    functions = ["hfllm.rl.rewards:length_reward"]
    workspace.recipe({"reward": DROP, "ppo": {"reward_functions": functions}})
    line = "implied: reward_functions is set, and no step is called 'reward'"
    assert shown(workspace, step="ppo")["reward"] == ("null", line)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("null", "max_completion_length: null; set the longest answer"), ("abc", "'abc'")],
)
@pytest.mark.parametrize("command", [["show"], ["run", "--dry-run"]])
def test_an_answer_without_a_length_is_one_line(workspace, command, value, expected):
    words = [*command, "recipe.yaml", f"ppo.trainer.max_completion_length={value}"]
    done = CliRunner().invoke(app, words)
    lines = [line for line in done.output.splitlines() if "max_completion_length" in line]
    assert done.exit_code == 1 and len(lines) == 1, done.output
    assert "ppo.trainer.max_completion_length: " in lines[0] and expected in lines[0]


@pytest.mark.parametrize("step", ["tokenizer", "pretrain", "sft", "ppo"])
def test_values_are_printed_as_a_recipe_takes_them(workspace, step):
    lines = shown(workspace, step=step)
    given = {k: yaml.safe_load(value) for k, (value, _) in lines.items() if value}
    assert not [k for k, value in given.items() if re.match(r"[A-Z]\w+\.[A-Z]", str(value))]
    if step == "sft":
        assert lines["trainer.lr_scheduler_type"][0] == "cosine"
        assert lines["trainer.save_strategy"][0] == "steps"
        assert re.fullmatch(r"\d+", lines["trainer.warmup_steps"][0])
        taken = [k for k in lines if re.match(r"trainer\.(?!max_length)\w", k)]  # set elsewhere
        again = [f"sft.{k}={lines[k][0]}" for k in taken]
        assert {k: v[0] for k, v in shown(workspace, *again, step=step).items()} == {
            k: v[0] for k, v in lines.items()
        }

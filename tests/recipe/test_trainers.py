"""`trainer:` sections: checked against the libraries' classes, and the precedence of values."""

import pytest

from hfllm.recipe import trainers
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.trainers import build_trainer_config, check_trainers, hardware_defaults
from hfllm.recipe.training import TRAINER_ELSEWHERE, TRL_ELSEWHERE
from hfllm.stages import find_stages

STAGES = [stage for stage in find_stages().values() if stage.trains]


def built(workspace, step, *overrides, **forced):
    spec = workspace.load(*overrides).steps[step]
    return build_trainer_config(spec, 3, "out", **forced)


def test_library_default_then_ours_then_machine_then_recipe_then_override(workspace, monkeypatch):
    monkeypatch.setattr(trainers, "hardware_defaults", lambda: {"bf16": True, "use_cpu": True})
    workspace.recipe({"pretrain": {"trainer": {"bf16": True, "learning_rate": 5e-4}}})
    config = built(workspace, "pretrain")
    assert config.adam_beta1 == 0.9  # the library's
    assert config.adam_beta2 == 0.95  # ours
    assert config.bf16 is True  # the machine's
    assert config.learning_rate == 5e-4  # the recipe's
    assert (config.seed, config.output_dir) == (3, "out")
    overrides = ("pretrain.trainer.learning_rate=1e-5", "pretrain.trainer.bf16=false")
    config = built(workspace, "pretrain", *overrides, max_steps=77)
    assert (config.learning_rate, config.bf16, config.max_steps) == (1e-5, False, 77)


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_our_defaults_and_redirections_are_keys_of_the_installed_class(stage):
    fields = trainers.trainer_class(stage).__dataclass_fields__
    assert {trainers.installed_key(key, fields) for key in stage.defaults} <= set(fields)
    own = set(stage.set_elsewhere) - set(TRL_ELSEWHERE)  # a class may lack what is said for all
    renamed = {k for k, where in stage.set_elsewhere.items() if where.endswith(" now")}
    assert own - renamed <= set(fields) and not renamed & set(fields)
    fixed = {"max_length", "train_sampling_strategy"}  # some stages set them, and let nobody else
    assert not set(stage.set_elsewhere) & (set(stage.defaults) - fixed)


@pytest.mark.parametrize("key", TRL_ELSEWHERE)
def test_a_redirection_for_all_is_a_key_of_some_class(key):
    refusing = [stage for stage in STAGES if key in TRAINER_ELSEWHERE | dict(stage.set_elsewhere)]
    assert any(key in trainers.trainer_class(s).__dataclass_fields__ for s in refusing)


def test_a_renamed_key_is_spelled_as_the_installed_library_does():
    old, new = "gradient_checkpointing", "activation_checkpointing"
    for key in (old, new):
        assert trainers.installed_key(key, {old}) == old
        assert (
            trainers.installed_key(key, {old, new}) == new
        )  # the old one is read where it is unset
        assert trainers.installed_key(f"{key}_kwargs", {f"{old}_kwargs"}) == f"{old}_kwargs"
    assert trainers.installed_key("gradient_accumulation_steps", {old, new}) == (
        "gradient_accumulation_steps"
    )


def test_every_section_of_the_tiny_recipe_builds(workspace):
    check_trainers(workspace.load())


def test_all_wrong_keys_of_all_steps_are_told_at_once(workspace):
    workspace.recipe(
        {
            "pretrain": {"trainer": {"learning_rat": 1, "max_steps": "many"}},
            "sft": {"trainer": {"packing": True}},
            "reward": {"trainer": {"output_dir": "x"}},
        }
    )
    with pytest.raises(RecipeError) as caught:
        check_trainers(workspace.load())
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "pretrain.trainer.learning_rat: Key 'learning_rat' not in 'TrainingArguments'" in text
    assert "Did you mean" in text
    assert "pretrain.trainer.max_steps: Value 'many' of type 'str' could not be converted" in text
    assert "sft.trainer.packing: set the step's data.packing" in text
    assert "reward.trainer.output_dir: set run_dir" in text


@pytest.mark.parametrize(
    "override",
    [
        "sft.trainer.lr_scheduler_type=nonsense",
        "sft.trainer.eval_strategy=sometimes",
        "sft.trainer={load_best_model_at_end: true, eval_strategy: 'no'}",
        "ppo.trainer.num_generations=0",
        "ppo.trainer.per_device_train_batch_size=0",
        "sft.trainer.gradient_accumulation_steps=0",
        "sft.trainer.report_to=neptun",
        "sft.trainer.optim=adamm",
    ],
)
def test_what_the_class_itself_refuses_is_one_line(workspace, override):
    with pytest.raises(RecipeError) as caught:
        check_trainers(workspace.load(override))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(override.split(".")[0] + ".trainer")


def test_an_unquoted_no_is_a_strategy(workspace):
    overrides = ("sft.trainer.save_strategy=no", "sft.trainer.logging_strategy=no")
    config = built(workspace, "sft", *overrides)
    assert (config.save_strategy, config.logging_strategy) == ("no", "no")


def test_the_machine_decides_precision_and_place(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert hardware_defaults() == {"bf16": True, "use_cpu": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainers, "cpu_has_bf16", lambda: False)
    assert hardware_defaults() == {"bf16": False, "use_cpu": True}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("{r: 16x}", "r: '16x' is not a whole number"),
        ("{r: 2.5}", "r: 2.5 is not a whole number"),
        ("{lora_dropout: much}", "lora_dropout: 'much' is not a number"),
        ("{lora_alpha: null}", "lora_alpha: None is not a whole number"),
    ],
)
def test_a_number_of_peft_that_is_none_is_named_by_its_key(workspace, values, said):
    with pytest.raises(RecipeError, match=f"sft.peft.{said}"):
        check_trainers(workspace.load(f"sft.peft={values}"))
    check_trainers(workspace.load("sft.peft={r: 2, lora_alpha: 4, lora_dropout: 0}"))


def test_epochs_below_0_are_refused(workspace):
    with pytest.raises(ValueError, match="num_train_epochs: must be 0 or more, not -1.0"):
        check_trainers(workspace.step("sft", "sft.trainer.num_train_epochs=-1").recipe)

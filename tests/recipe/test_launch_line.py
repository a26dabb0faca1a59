"""What a launch line, an accelerate config, a DeepSpeed JSON ask for is used, or contradicted."""

import json
from pathlib import Path

import pytest
import yaml

from hfllm.recipe import launch_line, trainers
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.launch_line import STARTED_BY_RUN, asked, asked_here, options
from hfllm.recipe.launcher import is_launcher
from hfllm.recipe.trainers import build_trainer_config, check_trainers
from tiny import DROP


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    """No launcher, no default config of accelerate, a CPU with bf16."""
    for name in ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID", STARTED_BY_RUN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(trainers, "hardware_defaults", lambda: {"bf16": True, "use_cpu": True})


def values(words):
    return {one.key: one.value for one in asked(words)}


def launched(monkeypatch, *words):
    line = ["python", "accelerate", "launch", *words, "launch/sft.py", "recipe.yaml"]
    monkeypatch.setattr(launch_line, "launcher_words", lambda: line)


def trained_with(workspace, *overrides):
    workspace.recipe({"sft": {"trainer": {"bf16": DROP, "use_cpu": DROP}}})
    recipe = workspace.load(*overrides)
    return build_trainer_config(recipe.steps["sft"], 0, "out")


def test_only_the_options_before_the_script_count():
    line = (
        "accelerate launch --num-processes 2 --multi_gpu --gpu_ids=0,1 s.py r.yaml --cpu --step x"
    )
    assert options(line.split()) == {"num_processes": "2", "multi_gpu": "", "gpu_ids": "0,1"}
    assert options(["x", "--quiet", "-m", "hfllm.launch", "r.yaml", "--step", "sft"]) == {
        "quiet": ""
    }
    line = "python -m accelerate.commands.launch --mixed_precision no -m hfllm.launch r.yaml"
    assert options(line.split()) == {"mixed_precision": "no"}
    for line in (
        "/accelerate/bin/python -u -m accelerate.commands.launch --config_file %s s.py",
        "python /bin/accelerate-launch --config_file=%s s.py",
        "--config_file %s",
    ):
        words = (line % "configs/accelerate/x.yaml").split()
        assert options(words)["config_file"] == "configs/accelerate/x.yaml"
    assert options(["--quiet", "s.py", "--cpu"]) == {"quiet": ""}


@pytest.mark.parametrize(
    ("precision", "bf16", "fp16"),
    [("no", False, False), ("bf16", True, False), ("fp16", False, True)],
)
def test_the_precision_of_the_launch_line_is_used(workspace, monkeypatch, precision, bf16, fp16):
    launched(monkeypatch, "--mixed_precision", precision)
    args = trained_with(workspace)
    assert (args.bf16, args.fp16) == (bf16, fp16)
    assert args.mixed_precision == precision


def test_without_a_word_the_machine_decides(workspace, monkeypatch):
    assert trained_with(workspace).bf16
    launched(monkeypatch, "--num_processes", "1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # accelerate sets it unasked
    assert trained_with(workspace).bf16


def test_the_config_file_is_used_and_the_line_wins(workspace, monkeypatch, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("mixed_precision: no\n")  # YAML reads false
    assert values(["--config_file", str(file)]) == {"bf16": False, "fp16": False}
    launched(monkeypatch, f"--config_file={file}")
    assert not trained_with(workspace).bf16
    launched(monkeypatch, f"--config_file={file}", "--mixed_precision=bf16")
    assert trained_with(workspace).bf16


def test_accelerates_own_default_config_is_used_where_the_line_names_none(tmp_path):
    (tmp_path / "hf/accelerate").mkdir(parents=True)
    (tmp_path / "hf/accelerate/default_config.yaml").write_text("mixed_precision: fp16")
    assert values(["launch", "--num_processes", "1"])["fp16"] is True
    assert values(["launch", "--cpu"]) == {"use_cpu": True}  # accelerate does not read it then
    assert values([]) == {}  # torchrun, python


def test_a_recipes_launch_counts_in_the_check_and_in_the_step(workspace, monkeypatch, tmp_path):
    (tmp_path / "a.yaml").write_text('mixed_precision: "no"')
    assert not trained_with(workspace, "launch.config=a.yaml").bf16
    words = "launch.accelerate_args=[--mixed_precision,fp16]"
    assert trained_with(workspace, words).fp16
    monkeypatch.setenv(STARTED_BY_RUN, "1")
    launched(monkeypatch, "--mixed_precision", "no")  # what `hfllm run` passes of itself
    assert trained_with(workspace).bf16
    assert trained_with(workspace, words).fp16


def test_the_environment_counts_without_a_launcher(workspace, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert not trained_with(workspace).bf16
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")  # torchrun: the recipe's launch is not used
    assert [one.value for one in asked_here(["--mixed_precision", "bf16"])] == [False, False]


@pytest.mark.parametrize(
    ("words", "override", "named"),
    [
        (
            ("--mixed_precision", "no"),
            "sft.trainer.bf16=true",
            "--mixed_precision no on the launch",
        ),
        (("--mixed_precision", "bf16"), "sft.trainer.bf16=false", "--mixed_precision bf16"),
        (("--mixed_precision", "bf16"), "sft.trainer.fp16=true", "--mixed_precision bf16"),
        (
            ("--gradient_accumulation_steps", "4"),
            "sft.trainer.gradient_accumulation_steps=2",
            "gradient_accumulation_steps: 2, but the launch asks for 4 (--gradient_accumul",
        ),
        (("--gradient_clipping", "0.5"), "sft.trainer.max_grad_norm=1", "max_grad_norm: 1.0, but"),
    ],
)
def test_a_key_of_the_recipe_that_says_otherwise_is_an_error_that_names_both(
    workspace, monkeypatch, words, override, named
):
    launched(monkeypatch, *words)
    with pytest.raises(ValueError) as caught:
        trained_with(workspace, override)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"sft.trainer.{override.split('=')[0].split('.')[-1]}: ")
    assert named in line


def test_a_key_that_says_the_same_is_no_error(workspace, monkeypatch):
    launched(monkeypatch, "--mixed_precision", "bf16", "--gradient_clipping", "1")
    assert trained_with(workspace, "sft.trainer.bf16=true", "sft.trainer.max_grad_norm=1.0").bf16


def test_accumulation_and_clipping_are_used(workspace, monkeypatch, tmp_path):
    launched(monkeypatch, "--gradient_accumulation_steps", "3", "--gradient_clipping", "0.5")
    args = trained_with(workspace)
    assert (args.gradient_accumulation_steps, args.max_grad_norm) == (3, 0.5)
    section = {"deepspeed_config": {"gradient_accumulation_steps": 2, "gradient_clipping": 0.1}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(section))
    assert values(["--config_file", "a.yaml"]) == {
        "gradient_accumulation_steps": 2,
        "max_grad_norm": 0.1,
    }


def deepspeed(tmp_path, **changes):
    config = {
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "bf16": {"enabled": "auto"},
        **changes,
    }
    (tmp_path / "ds.json").write_text(
        json.dumps({k: v for k, v in config.items() if v is not None})
    )
    (tmp_path / "a.yaml").write_text("deepspeed_config: {deepspeed_config_file: ds.json}")
    return ["--config_file", "a.yaml"]


def test_a_deepspeed_json_is_used(workspace, tmp_path):
    assert values(deepspeed(tmp_path)) == {}
    words = deepspeed(
        tmp_path,
        gradient_clipping=0.5,
        optimizer={"type": "AdamW", "params": {"lr": 1e-4, "weight_decay": 0.2}},
        bf16={"enabled": False},
    )
    assert values(words) == {
        "max_grad_norm": 0.5,
        "learning_rate": 1e-4,
        "weight_decay": 0.2,
        "bf16": False,
    }


@pytest.mark.parametrize("key", ["gradient_clipping", "gradient_accumulation_steps"])
def test_a_deepspeed_json_that_would_silently_not_clip_is_refused(workspace, tmp_path, key):
    with pytest.raises(ValueError, match=f'ds.json: has no {key}, .*: add "{key}": "auto"'):
        asked(deepspeed(tmp_path, **{key: None}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "a.yaml: not valid YAML in line 1"),
        ("- a", "a.yaml: not an accelerate config"),
        ("mixed_precision: fp8", "mixed_precision: fp8 in a.yaml: hfllm trains in no, bf16, fp16"),
        (
            "deepspeed_config: {deepspeed_config_file: x.json}",
            "deepspeed_config_file: no file x.json",
        ),
        ("deepspeed_config: {gradient_clipping: lots}", "gradient_clipping: 'lots' on the launch"),
        ("\xff", "a.yaml: not UTF-8; save"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line_of_the_check(workspace, tmp_path, text, expected):
    (tmp_path / "a.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError) as caught:
        check_trainers(workspace.load("launch.config=a.yaml"), ["sft"])
    (line,) = str(caught.value).splitlines()
    assert expected in line


def test_fp16_alone_switches_the_machines_bf16_off(workspace):
    args = trained_with(workspace, "sft.trainer.fp16=true")
    assert args.fp16 and not args.bf16


def test_use_cpu_false_without_a_gpu_is_named(workspace):
    with pytest.raises(ValueError, match="sft.trainer.use_cpu: false, and torch finds no GPU"):
        trained_with(workspace, "sft.trainer.use_cpu=false", "sft.trainer.bf16=false")
    with pytest.raises(ValueError, match="sft.trainer.use_cpu: false, and torch finds no GPU"):
        trained_with(workspace, "sft.trainer.use_cpu=false")


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("optim=adamw_foo", "optim: no such name: 'adamw_foo'. Did you mean: 'adamw_"),
        ("lr_scheduler_type=cosin", "lr_scheduler_type: no such name: 'cosin'. Did you mean: 'cos"),
        ("save_strategy=step", "save_strategy: no such name: 'step'. Did you mean: 'steps'?"),
    ],
)
def test_a_name_that_the_library_does_not_know_is_told_with_the_nearest(workspace, override, near):
    with pytest.raises(ValueError) as caught:
        trained_with(workspace, f"sft.trainer.{override}")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"sft.trainer.{near}")


def test_our_own_configs_leave_the_recipe_its_say(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])  # DeepSpeed's JSON is named relative to it
    files = sorted(Path("configs/accelerate").glob("*.yaml"))
    found = {file.stem: values(["--config_file", str(file)]) for file in files}
    assert found.pop("fsdp2") == {"bf16": True, "fp16": False}
    assert found.pop("cpu") == {"use_cpu": True}
    assert found and not any(found.values())


def test_the_last_of_two_equal_words_counts_as_for_accelerate():
    assert values(["--mixed_precision", "no", "--mixed_precision", "bf16"])["bf16"] is True


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("accelerate launch s.py", True),
        ("/v/bin/python3.12 /v/bin/accelerate launch s.py", True),
        ("python /v/bin/accelerate-launch s.py", True),
        ("python -u -m accelerate.commands.launch s.py", True),
        ("bash /x/accelerate-experiments/run.sh python -m hfllm.launch", False),
        ("/home/accelerate/bin/python -m pytest", False),
        ("bash accelerate launch", False),
        ("make -C accelerate all", False),
        ("", False),
    ],
)
def test_a_launcher_is_known_by_its_program_not_by_a_folder(line, is_one):
    assert is_launcher(line.split()) is is_one

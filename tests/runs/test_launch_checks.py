"""A launch that cannot start here is found before the run, by a dry run too."""

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.runs import launch_checks, processes
from hfllm.runs.launch_checks import launch_problems
from hfllm.runs.pipeline import command_of, run_recipe


@pytest.fixture(autouse=True)
def no_default_config(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "launch: a.yaml: not an accelerate config"),
        (
            'distributed_type: "NO"\nprompt: x',
            "launch: a.yaml: The config file at a.yaml had unkno",
        ),
        ("a: [", "launch: a.yaml: not valid YAML in line 1"),
        ("distributed_type: FSDP", "launch: FSDP on a machine without a GPU is plain DDP"),
        ("mixed_precision: fp8", "fp8 in a.yaml: hfllm trains in no, bf16, fp16"),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: no.json}",
            "no.js",
        ),
    ],
)
def test_a_dry_run_reads_the_launch_config(workspace, tmp_path, text, expected):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        run_recipe(workspace.load("launch.config=a.yaml"), dry_run=True)
    (line,) = caught.value.problems
    assert expected in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("[--multi_gup]", "launch: unrecognized arguments: --multi_gup"),
        ("[--num_processes, x]", "launch: argument --num_processes"),
        ("[--cpu, --num_processes, 2]", "launch: accelerate starts one process with --cpu, not 2"),
        ("[--help]", "launch: the options ask for help alone"),
        ("[launch/sft.py]", "launch: accelerate_args: launch/sft.py is no option of the launcher"),
        ("[--use_fsdp]", "launch: FSDP on a machine without a GPU"),
    ],
)
def test_a_dry_run_checks_the_options(workspace, words, expected):
    with pytest.raises(RecipeError, match=expected):
        run_recipe(workspace.load(f"launch.accelerate_args={words}"), dry_run=True)


def test_more_processes_than_gpus_and_no_deepspeed(monkeypatch):
    monkeypatch.setattr(processes, "count_gpus", lambda: 1)
    assert list(launch_problems(["--multi_gpu", "--num_processes", "2"])) == [
        "launch: 2 processes on this machine, which has 1 GPUs; one a GPU"
    ]
    machines = ["--multi_gpu", "--num_processes", "2", "--num_machines", "2"]
    assert list(launch_problems(machines)) == []
    monkeypatch.setattr(launch_checks, "find_spec", lambda name: None)
    (line,) = launch_problems(["--use_deepspeed"])
    assert "DeepSpeed is not installed" in line


def test_a_recipe_without_launch_has_no_problem():
    assert list(launch_problems([])) == []


def test_more_processes_than_gpus_on_the_cpu_are_as_the_other_check_advises(monkeypatch):
    monkeypatch.setattr(processes, "count_gpus", lambda: 1)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert list(launch_problems(["--multi_gpu", "--num_processes", "2"])) == []


def test_the_config_and_the_options_of_a_launch_count_both(workspace, tmp_path):
    (tmp_path / "a.yaml").write_text("num_machines: 1")
    step = workspace.step(
        "sft", "launch.config=a.yaml", "launch.accelerate_args=[--num_processes,1]"
    )
    words = command_of(step)
    at = words.index("--config_file")
    assert words[at : at + 4] == ["--config_file", "a.yaml", "--num_processes", "1"]
    assert step.spec.launch_words == words[at : at + 4]

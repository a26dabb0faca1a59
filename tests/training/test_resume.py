"""A checkpoint of another number of processes: what is kept, and what is said."""

import json
from types import SimpleNamespace

import pytest

from hfllm.recipe.launch_line import Asked
from hfllm.runs.checkpoints import mark_complete
from hfllm.training import resume
from hfllm.training.resume import Progress, keep_rows_per_step, other_precision, what_is_anew


@pytest.fixture()
def resumed(workspace, monkeypatch):
    """The `forced` keys and the line of a step that `now` processes resume."""

    def made(name, before, now, *overrides):
        step = workspace.step(name, *overrides)
        checkpoint = step.checkpoints / "checkpoint-2"
        checkpoint.mkdir(parents=True, exist_ok=True)
        before.save(checkpoint)
        mark_complete(checkpoint)
        values = {"gradient_accumulation_steps": 1, "steps_per_generation": 3}
        args = SimpleNamespace(train_batch_size=4, world_size=now, **values)
        monkeypatch.setattr(resume, "world_size", lambda: now)
        monkeypatch.setattr(resume, "build_trainer_config", lambda *_: args)
        keep_rows_per_step(step)
        vars(args).update(step.spec.forced)
        return step.spec.forced, what_is_anew(step, args, before)

    return made


def test_the_same_number_of_processes_says_nothing(resumed):
    assert resumed("sft", Progress(2, 8, 100), 2) == ({}, None)


@pytest.mark.parametrize(("before", "now", "accumulation"), [(2, 1, 2), (6, 2, 3), (4, 1, 4)])
def test_a_step_keeps_its_rows_where_they_divide(resumed, before, now, accumulation):
    forced, line = resumed("sft", Progress(before, 4 * before), now)
    assert forced == {"gradient_accumulation_steps": accumulation}
    assert f"is {accumulation}, so that a step keeps its {4 * before} rows" in line


def test_where_they_do_not_divide_the_line_says_so(resumed):
    forced, line = resumed("sft", Progress(2, 8), 3)
    assert forced == {} and "a step has 12 rows instead of 8" in line and "\n" not in line
    forced, line = resumed("sft", Progress(1, 12), 3)  # the recipe's batch follows the processes
    assert forced == {} and "a step keeps its 12 rows" in line


def test_a_rollout_keeps_its_rows_too(resumed):
    forced, _ = resumed("ppo", Progress(2, 8), 1, "ppo.trainer.steps_per_generation=3")
    assert forced == {"gradient_accumulation_steps": 2, "steps_per_generation": 6}
    forced, _ = resumed("ppo", Progress(2, 8), 1)  # it follows the accumulation
    assert forced == {"gradient_accumulation_steps": 2}


def test_without_resume_nothing_is_kept(resumed):
    assert resumed("sft", Progress(2, 8), 1, "sft.resume=false")[0] == {}


def test_shards_of_deepspeed_need_as_many_processes(resumed, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match="in shards of 2 DeepSpeed processes and this run has 1"):
        resumed("sft", Progress(2, 8), 1)


def test_an_older_checkpoint_tells_its_processes_by_their_random_states(tmp_path):
    assert Progress.read(tmp_path) == Progress(1)
    for rank in range(3):
        (tmp_path / f"rng_state_{rank}.pth").touch()
    assert Progress.read(tmp_path) == Progress(3)
    Progress(2, 8, 100, 7, "bf16").save(tmp_path)
    assert Progress.read(tmp_path) == Progress(2, 8, 100, 7, "bf16")
    assert json.loads((tmp_path / "progress.json").read_text())["processes"] == 2


@pytest.mark.parametrize("before", [None, "no", "bf16", "fp16"])
@pytest.mark.parametrize("now", ["no", "bf16", "fp16"])
def test_another_precision_than_the_checkpoints_is_said(workspace, before, now):
    args = SimpleNamespace(bf16=now == "bf16", fp16=now == "fp16")
    step = workspace.step("sft")
    line = other_precision(step, args, Progress(1, precision=before))
    if before in (None, now):
        assert line is None
    else:
        assert f"precision is {now}, that of the checkpoint was {before}" in line


def test_processes_that_found_different_checkpoints_are_told_why(tmp_path, monkeypatch):
    check = resume.check_same_everywhere
    monkeypatch.setattr(resume, "gather_object", lambda mine: [*mine, "checkpoint-2"])
    check(tmp_path / "checkpoint-2", 2)
    with pytest.raises(ValueError, match="None, checkpoint-2.*a disk that all machines share"):
        check(None, 2)
    check(None, 1)  # one process asks nobody


def test_as_many_processes_keep_the_rows_that_an_earlier_resume_set(resumed):
    assert resumed("sft", Progress(1, 8), 1) == ({"gradient_accumulation_steps": 2}, None)


def test_a_launch_that_asks_for_other_rows_in_the_middle_of_a_run_is_refused(resumed, monkeypatch):
    asks = [Asked("gradient_accumulation_steps", 3, "--gradient_accumulation_steps 3")]
    monkeypatch.setattr(resume, "launch_asks", lambda spec: asks)
    with pytest.raises(ValueError) as caught:
        resumed("sft", Progress(1, 12), 1)
    (line,) = str(caught.value).splitlines()
    assert "has 4 rows (--gradient_accumulation_steps 3), one of its checkpoint 12" in line
    assert resumed("sft", Progress(1, 4), 1) == ({}, None)
    assert resumed("sft", Progress(1, 12), 1, "sft.resume=false")[0] == {}


def test_rows_that_cannot_be_kept_on_as_many_processes_are_refused(resumed):
    with pytest.raises(ValueError, match="a step of this run has 4 rows, one of its checkpoint 6"):
        resumed("sft", Progress(1, 6), 1)

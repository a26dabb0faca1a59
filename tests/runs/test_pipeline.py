"""`hfllm run`: the plan, the command lines, the end of a step, and signals."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hfllm.runs import pipeline
from hfllm.runs.checkpoints import mark_complete
from hfllm.runs.layout import step_named
from hfllm.runs.pipeline import StepFailed, command_of, plan, run_recipe
from hfllm.runs.record import recording
from hfllm.runs.set_aside import set_aside
from hfllm.runs.status import status

STEPS = ["tokenizer", "pretrain", "sft", "reward", "ppo"]


@pytest.fixture()
def ran(monkeypatch):
    """Steps that would have run, in order, with whether each was forced."""
    ran = []
    monkeypatch.setattr(pipeline, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(
        pipeline, "_run_step", lambda step, forced, lock: ran.append((step.name, forced))
    )
    return ran


def finish(workspace, *names):
    for name in names:
        with recording(workspace.step(name)):
            pass


def actions(recipe, **options):
    return {item.step.name: item.action for item in plan(recipe, **options)}


def test_everything_missing_runs_in_order(workspace, ran):
    run_recipe(workspace.load())
    assert ran == [(name, False) for name in STEPS]


def test_a_finished_run_says_how_to_look_at_it(workspace, ran, capsys):
    run_recipe(workspace.load())
    assert "hfllm chat" not in capsys.readouterr().out  # nothing is there
    workspace.step("pretrain").model.mkdir(parents=True)
    run_recipe(workspace.load())
    assert capsys.readouterr().out.endswith("\nhfllm chat runs/tiny/pretrain/model --plain\n")
    workspace.step("sft").model.mkdir(parents=True)
    run_recipe(workspace.load())
    assert capsys.readouterr().out.endswith("\nhfllm chat runs/tiny/sft/model\n")


def test_what_is_done_is_skipped_and_what_follows_a_change_is_not(workspace):
    finish(workspace, "tokenizer", "pretrain", "sft", "reward")
    wanted = {"tokenizer": "skip", "pretrain": "skip", "sft": "skip", "reward": "skip"}
    assert actions(workspace.load()) == {**wanted, "ppo": "run"}
    changed = workspace.load("sft.trainer.max_steps=2")
    assert [n for n, a in actions(changed).items() if a == "run"] == ["sft", "reward", "ppo"]
    changed = workspace.load("reward.trainer.max_steps=3")
    assert [n for n, a in actions(changed).items() if a == "run"] == ["reward", "ppo"]


def test_only_runs_that_step_even_if_done(workspace, ran):
    finish(workspace, "tokenizer", "pretrain")
    run_recipe(workspace.load(), only="pretrain")
    assert ran == [("pretrain", True)]


def test_a_step_that_nobody_asked_for_is_not_called_skipped_because_it_never_ran(
    workspace, ran, capsys
):
    finish(workspace, "tokenizer")
    run_recipe(workspace.load(), only="pretrain")
    out = capsys.readouterr().out
    assert "skip  sft          not asked for (not run yet)" in out
    assert "skip  tokenizer    done in" in out


def test_only_needs_its_parents(workspace):
    finish(workspace, "tokenizer")
    with pytest.raises(ValueError) as caught:
        plan(workspace.load(), only="sft")
    assert "'sft' needs 'pretrain', which is missing (not run yet) in runs/tiny/pretrain" in str(
        caught.value
    )
    assert "hfllm run recipe.yaml --only pretrain" in str(caught.value)


def test_two_failed_reruns_lose_no_finished_step_and_the_old_keys_put_it_back(
    workspace, monkeypatch, capsys
):
    def fails(step, forced, lock):
        if status(step).state == "stale":
            set_aside(step)
        with pytest.raises(ValueError), recording(step):
            raise ValueError("ill")
        raise StepFailed("ill", 1)

    finish(workspace, *STEPS)
    monkeypatch.setattr(pipeline, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "_run_step", fails)
    for steps in (5, 6):
        with pytest.raises(StepFailed):
            run_recipe(workspace.load(f"sft.trainer.max_steps={steps}"))
    run_recipe(workspace.load())
    assert "sft: finished before with these keys; put back from" in capsys.readouterr().out
    assert all(status(workspace.step(name)).is_done for name in STEPS)


def test_from_runs_it_and_all_that_read_it(workspace, ran):
    finish(workspace, *STEPS)
    run_recipe(workspace.load(), start="reward")
    assert ran == [("reward", True), ("ppo", True)]


def test_a_done_step_runs_when_its_parent_comes_out_different_in_the_same_run(
    workspace, monkeypatch
):
    def write(step, text):
        with recording(step):
            step.tokenizer.mkdir(parents=True, exist_ok=True)
            (step.tokenizer / "tokenizer.json").write_text(text)

    ran = []

    def again(step, forced, lock):
        ran.append(step.name)
        write(step, "another" if step.name == "tokenizer" else step.name)

    for name in STEPS:
        write(workspace.step(name), name)
    monkeypatch.setattr(pipeline, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "_run_step", again)
    workspace.step("tokenizer").manifest.unlink()
    run_recipe(workspace.load())
    # pretrain reads the tokenizer; it came out as before, so nothing below it runs again
    assert ran == ["tokenizer", "pretrain"]


@pytest.mark.parametrize("option", ["only", "start"])
def test_an_unknown_step_is_told_with_the_near_miss(workspace, option):
    with pytest.raises(ValueError, match="no step 'reward_'. Did you mean: 'reward'?"):
        plan(workspace.load(), **{option: "reward_"})


def test_only_and_from_exclude_each_other(workspace):
    with pytest.raises(ValueError, match="not both"):
        plan(workspace.load(), only="sft", start="sft")


def test_a_dry_run_tells_the_commands_and_writes_nothing(workspace, ran, capsys):
    run_recipe(workspace.load("seed=3"), dry_run=True)
    out = capsys.readouterr().out
    assert ran == []
    assert not (workspace.folder / "runs").exists()
    assert " run  sft          not run yet" in out
    assert "accelerate.commands.launch --quiet --num_processes 1" in out
    assert "-m hfllm.launch recipe.yaml --step sft seed=3" in out


def test_a_dry_run_checks(workspace):
    with pytest.raises(ValueError, match="sft.trainer.learning_rat"):
        run_recipe(workspace.load("sft.trainer.learning_rat=3"), dry_run=True)


def test_the_resolved_recipe_is_kept_beside_the_steps(workspace, ran):
    run_recipe(workspace.load("seed=9"))
    assert "seed: 9" in (workspace.folder / "runs" / "tiny" / "config.yaml").read_text()


def test_data_steps_need_no_launcher(workspace):
    words = command_of(workspace.step("tokenizer"))
    assert words == [sys.executable, "-m", "hfllm.launch", "recipe.yaml", "--step", "tokenizer"]


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        ({"config": "ddp.yaml"}, ["--quiet", "--config_file", "ddp.yaml"]),
        ({"accelerate_args": ["--num_processes", 2]}, ["--num_processes", "2"]),
    ],
)
def test_the_recipe_says_how_training_is_launched(workspace, launch, expected):
    workspace.recipe({"launch": launch}, only=("launch", "tokenizer", "pretrain"))
    words = command_of(workspace.step("pretrain"))
    assert words[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert words[3 : 3 + len(expected)] == expected
    assert words[3 + len(expected) : 5 + len(expected)] == ["-m", "hfllm.launch"]


def stand_in(monkeypatch, code):
    monkeypatch.setattr(pipeline, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "command_of", lambda step: [sys.executable, "-c", code])


def test_a_step_that_fails_ends_the_run_with_the_command_to_go_on(workspace, monkeypatch):
    stand_in(monkeypatch, "raise SystemExit(7)")
    with pytest.raises(StepFailed, match="step 'tokenizer' ended with exit code 7") as caught:
        run_recipe(workspace.load())
    assert caught.value.exit_code == 7
    assert "hfllm run recipe.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "expected"), [("failed", ""), ("running", "rerun the same command to resume: hfllm")]
)
def test_only_a_step_that_was_stopped_is_said_to_resume(workspace, monkeypatch, status, expected):
    """One that failed has told its error itself, in one line, which stays the last."""
    with recording(workspace.step("tokenizer")):
        pass
    path = workspace.step("tokenizer").manifest
    path.write_text(path.read_text().replace('"status": "done"', f'"status": "{status}"'))
    stand_in(monkeypatch, "raise SystemExit(1)")
    with pytest.raises(StepFailed) as caught:
        run_recipe(workspace.load())
    assert expected in str(caught.value) and bool(expected) == bool(str(caught.value))


@pytest.mark.parametrize("left", ["nothing", "running"])
def test_an_exit_code_of_0_is_not_trusted_without_a_manifest_that_is_done(
    workspace, monkeypatch, left
):
    if left == "running":
        with recording(workspace.step("tokenizer")):
            pass
        path = workspace.step("tokenizer").manifest
        path.write_text(path.read_text().replace('"status": "done"', '"status": "running"'))
    stand_in(monkeypatch, "raise SystemExit(0)")
    with pytest.raises(StepFailed, match="step 'tokenizer' .*exit code 0") as caught:
        run_recipe(workspace.load())
    assert caught.value.exit_code == 1


def test_a_step_gets_its_environment(workspace, monkeypatch):
    code = (
        "import os, json; json.dump(dict(os.environ), open('env.json', 'w')); raise SystemExit(1)"
    )
    stand_in(monkeypatch, code)
    with pytest.raises(StepFailed):
        run_recipe(workspace.load(), start="tokenizer")
    env = json.loads((workspace.folder / "env.json").read_text())
    assert env["HFLLM_FORCE"] == "tokenizer"
    assert env["HFLLM_LOCK_HELD"] == str((workspace.folder / "runs" / "tiny").resolve())
    assert env["MALLOC_MMAP_THRESHOLD_"] == "33554432" and "MALLOC_MMAP_MAX_" not in env


def test_pretraining_keeps_every_block_of_memory(workspace, monkeypatch):
    code = "import os; open('kept', 'w').write(os.environ['MALLOC_MMAP_MAX_'])"
    stand_in(monkeypatch, code)
    step = step_named(workspace.load(), "pretrain")
    with pytest.raises(StepFailed):  # the stand-in writes no manifest
        pipeline._run_step(step, forced=False, lock=None)
    assert (workspace.folder / "kept").read_text() == "0"


# `accelerate launch` in small: it starts the work in a child and dies of SIGTERM without a word.
LAUNCHER = """
import subprocess, sys
work = '''
import signal, sys, time
def stop(*_):
    time.sleep(1)
    open("checkpoint", "w").write("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
open("started", "w").close()
time.sleep(60)
'''
sys.exit(subprocess.call([sys.executable, "-c", work]))
"""
RUN = """
from hfllm.cli import app
from hfllm.runs import pipeline
import sys
pipeline.preflight = lambda *_, **__: None
pipeline.command_of = lambda step: [sys.executable, "accelerate-launch.py"]
app(["run", "recipe.yaml"])
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_to_the_run_reaches_the_work_and_is_waited_for(workspace, number, code):
    (workspace.folder / "accelerate-launch.py").write_text(LAUNCHER)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdout=subprocess.DEVNULL,
        stderr=(workspace.folder / "said").open("w"),
        # tests started with nohup or in the background hand down an ignored signal
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (workspace.folder / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number)
    assert process.wait(timeout=30) == code
    said = (workspace.folder / "said").read_text().splitlines()
    assert said[-1] == "error: interrupted; rerun the same command to resume"
    assert (workspace.folder / "checkpoint").read_text() == "saved"
    assert not [p for p in started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_the_word_after_a_signal_names_the_newest_complete_checkpoint(workspace):
    step = workspace.step("pretrain")
    for number in (9, 10, 11, 12):
        path = step.checkpoints / f"checkpoint-{number}" / "x"
        path.parent.mkdir(parents=True)
        path.touch()
        if number != 11:
            mark_complete(path.parent)
    path.unlink()  # of the newest: a resume would not take it
    assert pipeline._interrupted(step).endswith(f"resume from {step.checkpoints}/checkpoint-10")


def test_a_second_signal_while_the_first_is_passed_on_leaves_no_step_behind(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    calls = []

    def interrupted(pid):
        calls.append(pid)
        if len(calls) == 1:  # `timeout` signals the group, and its child once more
            raise SystemExit(143)
        return [psutil.Process(pid)]

    monkeypatch.setattr(pipeline, "step_processes", interrupted)
    pipeline._stop(process)
    assert len(calls) == 2 and process.poll() == -signal.SIGTERM

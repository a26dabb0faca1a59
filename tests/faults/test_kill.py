"""`hfllm run`, stopped and killed on the way: the same command finishes, to the very same bits."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from safetensors.torch import load_file

from hfllm.runs.manifest import Manifest

TRAINER = {"max_steps": 120, "save_steps": 10, "eval_steps": 60, "logging_steps": 1}
TIMEOUT_S = 280  # on a machine that has other things to do
COMMAND = [sys.executable, "-c", "from hfllm.cli import app; app()", "run", "recipe.yaml"]


@pytest.fixture()
def start(workspace):
    """Start a run by name; whatever is left of one at the end of the test is killed."""
    running = []

    def start(name):
        log = (workspace.folder / f"{name}.log").open("w")
        running.append(subprocess.Popen([*COMMAND, f"name={name}"], stdout=log, stderr=log))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            kill_all(process)


def last_step(space, name):
    path = space.folder / "runs" / name / "pretrain" / "metrics.jsonl"
    try:
        return json.loads(path.read_text().splitlines()[-1])["step"]
    except (OSError, ValueError, IndexError):
        return 0


def wait_for(space, name, step, process):
    """Until the step is logged; the log of a run that ends before is the message."""
    deadline = time.monotonic() + TIMEOUT_S
    while last_step(space, name) < step:
        ended = process.poll() is not None or time.monotonic() > deadline
        assert not ended, (space.folder / f"{name}.log").read_text()
        time.sleep(0.01)


def kill_all(process):
    """As the kernel does when memory runs out: nobody gets to say a word."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()


def weights(space, name):
    return load_file(space.folder / "runs" / name / "pretrain" / "model" / "model.safetensors")


@pytest.mark.slow
def test_stopped_then_killed_then_finished_equals_straight(workspace, start):
    workspace.recipe({"pretrain": {"trainer": TRAINER}}, only=("tokenizer", "pretrain"))
    straight = start("straight")

    stopped = start("broken")
    wait_for(workspace, "broken", 25, stopped)
    os.kill(stopped.pid, signal.SIGTERM)
    assert stopped.wait(timeout=TIMEOUT_S) == 143
    folder = workspace.folder / "runs" / "broken" / "pretrain"
    assert Manifest.read(folder / "manifest.json").status == "running"
    first = last_step(workspace, "broken")
    assert 25 <= first < 120
    assert f"checkpoint-{first}" in {p.name for p in (folder / "checkpoints").iterdir()}

    killed = start("broken")
    wait_for(workspace, "broken", first + 15, killed)
    kill_all(killed)

    last = start("broken")
    assert last.wait(timeout=TIMEOUT_S) == 0, (workspace.folder / "broken.log").read_text()
    assert straight.wait(timeout=TIMEOUT_S) == 0, (workspace.folder / "straight.log").read_text()
    log = (workspace.folder / "broken.log").read_text()
    assert "skip  tokenizer    done in" in log
    assert "pretrain     interrupted; resumes from its last checkpoint" in log
    assert "pretrain: resuming from runs/broken/pretrain/checkpoints/checkpoint-" in log
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if "[transformers]" in line or "Warning" in line]
    one, other = weights(workspace, "straight"), weights(workspace, "broken")
    assert one.keys() == other.keys()
    assert all((one[key] == other[key]).all() for key in one)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 121))


@pytest.mark.slow
def test_a_step_that_fails_shows_its_line_and_no_stack_of_the_launcher(workspace, start):
    workspace.recipe({}, only=("tokenizer", "pretrain"))
    with (workspace.folder / "data" / "heldout.jsonl").open("a") as file:  # behind the first rows
        file.write('{"text": "A row more."}\n' * 500 + '{"text": \n')
    process = start("failing")
    assert process.wait(timeout=TIMEOUT_S) == 1
    log = (workspace.folder / "failing.log").read_text()
    assert log.splitlines()[-1].startswith("error: data/heldout.jsonl:509: broken JSON")
    assert "rerun the same command" not in log
    assert "Traceback" not in log

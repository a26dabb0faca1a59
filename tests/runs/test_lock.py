"""The lock of a run folder admits one writer, also across processes and after a kill."""

import os
import signal
import subprocess
import sys

import pytest

from hfllm.runs.lock import HELD, RunLocked, run_lock

HOLD = """
import sys, time
from pathlib import Path
from hfllm.runs.lock import run_lock
with run_lock(Path("runs/x")):
    print("held", flush=True)
    time.sleep(60)
"""
# Takes the lock, hands it to a child as `hfllm run` does, and says the child's id.
HAND_ON = """
import subprocess, sys, time
from pathlib import Path
from hfllm.runs.lock import run_lock
child = "from pathlib import Path; from hfllm.runs.lock import run_lock; import time\\n" \\
    "with run_lock(Path('runs/x')): print('inside', flush=True); time.sleep(60)"
with run_lock(Path("runs/x")) as fd:
    process = subprocess.Popen([sys.executable, "-c", child], pass_fds=(fd,))
    print(process.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture()
def start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = []

    def start(code):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_second_process_is_refused_with_the_holder_named(start, tmp_path):
    process = start(HOLD)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RunLocked) as caught, run_lock(tmp_path / "runs" / "x"):
        pass
    assert f"in use by process {process.pid} on " in str(caught.value)
    assert "name=OTHER" in str(caught.value)
    assert "\n" not in str(caught.value)
    with run_lock(tmp_path / "runs" / "y"):  # another folder is free
        pass


def test_a_killed_holder_leaves_no_lock(start, tmp_path):
    process = start(HOLD)
    process.stdout.readline()
    process.kill()
    process.wait()
    with run_lock(tmp_path / "runs" / "x"):
        pass


def test_the_lock_stays_with_the_step_when_its_parent_is_killed(start, tmp_path):
    parent = start(HAND_ON)
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "inside\n"
    parent.kill()
    parent.wait()
    try:
        with pytest.raises(RunLocked) as caught, run_lock(tmp_path / "runs" / "x"):
            pass
        assert f"its step in process {child}" in str(caught.value)
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_permission_is_inherited_and_taken_back(tmp_path):
    with run_lock(tmp_path) as handle:
        assert os.environ[HELD] == str(tmp_path.resolve())
        assert isinstance(handle, int)
        with run_lock(tmp_path) as inner:
            assert inner is None
    assert HELD not in os.environ
    with run_lock(tmp_path):
        pass


def test_an_error_inside_frees_it(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path):
        pass

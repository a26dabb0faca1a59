"""A step's error is the last thing seen under accelerate's and torchrun's own tracebacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACCELERATE = ("accelerate.commands.launch", "--num_machines", "1", "--dynamo_backend", "no")
LINES = {
    "one process": (*ACCELERATE, "--num_processes", "1", "--mixed_precision", "no"),
    "two processes": (*ACCELERATE, "--num_processes", "2", "--multi_gpu",
                      "--main_process_port", "29641"),
    "torchrun": ("torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29642"),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_error_is_the_last_line(workspace, line):
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *line, str(ROOT / "launch/sft.py"), "recipe.yaml", "sft.dta=1"],
        env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: recipe.yaml: sft.dta: ")
    assert not (workspace.folder / "runs").exists()


def test_a_quiet_launcher_of_one_process_needs_no_repetition(workspace):
    line = (*LINES["one process"], "--quiet")
    done = subprocess.run(
        [sys.executable, "-m", *line, str(ROOT / "launch/sft.py"), "recipe.yaml", "sft.dta=1"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert [x for x in done.stderr.splitlines() if "sft.dta" in x] == done.stderr.splitlines()[-1:]
    assert "Traceback" not in done.stderr

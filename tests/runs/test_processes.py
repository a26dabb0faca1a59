"""Launch lines that silently do something else than they ask for are refused."""

import os
import subprocess
import sys

import pytest

from hfllm.runs import processes
from hfllm.runs.processes import (
    asked_processes,
    check_launch_line,
    step_processes,
    use_one_gpu,
)

LAUNCH = ["python", "/bin/accelerate", "launch", "--cpu"]


@pytest.fixture()
def words(monkeypatch):
    def words(*given):
        monkeypatch.setattr(processes, "launcher_words", lambda *_: list(given))

    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    return words


def test_one_process_where_two_were_asked_for_is_refused(words, monkeypatch):
    words(*LAUNCH, "--num_processes", "2", "launch/sft.py")
    with pytest.raises(ValueError, match="asks for 2 processes but one was started") as caught:
        check_launch_line()
    assert "torchrun --nproc_per_node 2" in str(caught.value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch_line()


@pytest.mark.parametrize(
    "line", [[], [*LAUNCH, "--num_processes", "1"], [*LAUNCH, "launch/sft.py", "a.yaml"]]
)
def test_what_does_what_it_says_is_let_through(words, line):
    words(*line)
    check_launch_line()


def test_fsdp_on_a_cpu_is_refused(words, monkeypatch):
    words()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr(processes, "has_gpu", lambda: False)
    with pytest.raises(ValueError, match="FSDP through accelerate on a CPU is plain DDP"):
        check_launch_line()
    monkeypatch.setattr(processes, "has_gpu", lambda: True)
    check_launch_line()


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("accelerate launch --num_processes 4 x.py", 4),
        ("accelerate launch --num_processes=4 x.py", 4),
        ("accelerate launch --num-processes 4 x.py", 4),
        ("accelerate launch --config_file cfg.yaml x.py", 3),
        ("accelerate launch --config_file=cfg.yaml --num_processes 2 x.py", 2),
        ("accelerate launch --config_file gone.yaml x.py", None),
        ("accelerate launch x.py", None),
        ("accelerate launch --num_processes", None),
    ],
)
def test_the_number_asked_for(tmp_path, monkeypatch, line, asked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfg.yaml").write_text("num_processes: 3\n")
    assert asked_processes(line.split()) == asked


def test_the_work_is_in_the_launchers_children(tmp_path):
    (tmp_path / "accelerate.py").write_text(
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\np.wait()\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, str(tmp_path / "accelerate.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        child = int(launcher.stdout.readline())
        assert [p.pid for p in step_processes(launcher.pid)] == [child]
        assert [p.pid for p in step_processes(child)] == [child]
        os.kill(child, 9)
    finally:
        launcher.kill()
        launcher.wait()
    assert step_processes(launcher.pid) == []


def test_idle_gpus_are_told(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    use_one_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    said = capsys.readouterr().out
    assert "takes one GPU (2), 2 more stay idle" in said
    assert "--num_processes 3" in said
    use_one_gpu()
    assert capsys.readouterr().out == ""

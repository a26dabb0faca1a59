"""What a training step prints: its plan, a first line, the time left; a bar on a terminal."""

import sys
from types import SimpleNamespace

import pytest

from hfllm.runs.progress_format import duration
from hfllm.training import progress
from hfllm.training.callbacks import MetricsLog
from hfllm.training.progress import ProgressLines
from tiny import DROP

ARGS = SimpleNamespace(disable_tqdm=True)


def state(step, **changes):
    values = {"global_step": step, "max_steps": 9, "is_world_process_zero": True, **changes}
    return SimpleNamespace(**values)


@pytest.fixture()
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture()
def log(tmp_path, clock):
    lines = ProgressLines("sft", lambda steps: [f"{steps} steps"])
    log = MetricsLog(tmp_path / "m.jsonl", "sft", ("loss",), progress=lines)
    return log


def end(log, step, logs=None):
    log.on_step_end(ARGS, state(step), SimpleNamespace(should_log=logs is not None))
    if logs:
        log.on_log(ARGS, state(step), None, logs=logs)


def test_the_first_line_comes_after_the_first_step_with_the_time_left(log, clock, capsys):
    log.on_train_begin(ARGS, state(0), None)
    assert capsys.readouterr().out == "sft: 9 steps\n"
    clock.seconds = 28.0
    end(log, 1)
    assert capsys.readouterr().out == "sft  step     1/9      28 s, 4 min left\n"
    end(log, 2)
    assert capsys.readouterr().out == ""
    clock.seconds = 60.0
    end(log, 3, {"loss": 1.5})
    assert capsys.readouterr().out == "sft  step     3/9      60 s, 2 min left  loss 1.5\n"


def test_a_minute_without_a_log_gets_a_line(log, clock, capsys):
    log.on_train_begin(ARGS, state(0), None)
    end(log, 1)
    capsys.readouterr()
    clock.seconds = progress.LINE_EVERY_S + 1
    end(log, 2)
    assert "step     2/9" in capsys.readouterr().out


def test_the_last_step_has_the_line_of_its_evaluation_alone(log, capsys):
    log.on_train_begin(ARGS, state(0, max_steps=1), None)
    log.on_step_end(ARGS, state(1, max_steps=1), SimpleNamespace(should_log=False))
    log.on_log(ARGS, state(1, max_steps=1), None, logs={"loss": 2.0})
    assert capsys.readouterr().out.count("step     1/1") == 1


@pytest.mark.parametrize(("step", "rows"), [(4, 0), (9, 1)])
def test_only_a_finished_training_has_the_sums_of_its_end(log, step, rows):
    log.on_train_begin(ARGS, state(0), None)
    log.on_log(ARGS, state(step), None, logs={"train_loss": 2.0, "train_runtime": 3.0})
    assert log.path.exists() == bool(rows)


def test_a_step_that_is_logged_gets_one_line(log, capsys):
    log.on_train_begin(ARGS, state(0), None)
    end(log, 1, {"loss": 2.0})
    assert capsys.readouterr().out.count("step     1/9") == 1


def test_time_left_is_that_of_the_steps_of_this_run(log, clock):
    log.on_train_begin(ARGS, state(5), None)  # resumed
    clock.seconds = 10.0
    assert log.progress.left(state(6)) == "30 s"
    assert log.progress.left(state(5)) == log.progress.left(state(9)) == ""


def test_another_rank_prints_nothing(tmp_path, capsys):
    log = MetricsLog(tmp_path / "m.jsonl", "sft", ("loss",))
    log.on_train_begin(ARGS, state(0, is_world_process_zero=False), None)
    log.on_step_end(ARGS, state(1, is_world_process_zero=False), SimpleNamespace(should_log=False))
    assert capsys.readouterr().out == ""


def test_a_terminal_has_a_bar_below_the_lines(tmp_path, clock, monkeypatch, capsys):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log = MetricsLog(tmp_path / "m.jsonl", "sft", ("loss",))
    log.on_train_begin(ARGS, state(0), None)
    clock.seconds = 28.0
    end(log, 1)
    assert log.progress.bar.n == 1
    end(log, 3, {"loss": 1.5})
    assert log.progress.bar.n == 3
    log.on_train_end(ARGS, state(3), None)
    shown = capsys.readouterr()
    assert "loss 1.5" in shown.out
    assert "3/9" in shown.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (89, "89 s"), (100, "2 min"), (5300, "88 min"), (12000, "3 h 20 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_a_step_says_its_plan_before_it_starts(trained, capsys):
    trained.recipe({"reward": {"trainer": {"per_device_train_batch_size": 2, "bf16": DROP,
                                           "gradient_accumulation_steps": 2}}})  # fmt: skip
    trained.run("reward")
    out = capsys.readouterr().out
    assert "reward: 2 steps of 4 rows (2 at once, accumulated 2 times), about " in out
    assert " tokens each and " in out
    assert "; passes: 0.33 over the pairs" in out
    assert "reward: expected memory: about " in out

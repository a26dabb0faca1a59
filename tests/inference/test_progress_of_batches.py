"""Long loops say how far they are, also within one batch; short ones say nothing."""

import time

from hfllm.inference import progress
from hfllm.runs.progress_format import counted


def test_a_long_batch_is_not_silent_and_the_time_left_is_said(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    said = ""
    with progress.track(4, "sft: facts", "prompts") as done:
        while "0 of 4 prompts after 0 s\n" not in said:
            time.sleep(0.01)
            said += capsys.readouterr().err
        done(2)
        while "2 of 4 prompts, 0 s left\n" not in said:
            time.sleep(0.01)
            said += capsys.readouterr().err
    assert said.startswith("sft: facts: 0 of 4 prompts")
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""  # nothing after the end


def test_a_short_loop_prints_nothing(capsys):
    with progress.track(2, "answers", "prompts") as done:
        done(2)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_at_the_speed_so_far():
    assert progress.time_left(10, 40, 20.0) == ", 60 s left"
    assert progress.time_left(0, 40, 61.0) == " after 61 s"


def test_one_of_a_thing_is_in_the_singular():
    assert [counted(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]

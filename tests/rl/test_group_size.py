"""Groups that do not fill a rollout are said from the recipe, with the processes of its launch."""

from types import SimpleNamespace

import pytest

from hfllm.rl import group_size

DEFAULTS = {"per_device_train_batch_size": 32, "num_generations": 8}


def said(trainer, launch=(), monkeypatch=None):
    stage = SimpleNamespace(default_values=lambda: dict(DEFAULTS))
    config = SimpleNamespace(trainer=trainer)
    spec = SimpleNamespace(stage=stage, config=config, launch_words=list(launch))
    return list(group_size.problems(spec))


@pytest.mark.parametrize(
    "trainer",
    [
        {},
        {"num_generations": 6},  # the batch is chosen in whole groups
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
        {"per_device_train_batch_size": 4, "steps_per_generation": 4},
        {"per_device_train_batch_size": 4, "generation_batch_size": 24},
        {"per_device_train_batch_size": "4"},  # said elsewhere
    ],
)
def test_these_fit(trainer):
    assert said(trainer) == []


def test_the_line_says_which_numbers_fit():
    (line,) = said({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3})
    assert line == (
        "trainer.num_generations: groups of 8 answers do not fill a rollout of 12 "
        "(per_device_train_batch_size 4 x 1 process(es) x 3 step(s) of a generation); use 2, 3, 4, "
        "6, 12, or make it 16 answers"
    )


def test_the_processes_of_the_launch_count(monkeypatch):
    small = {"per_device_train_batch_size": 4}
    assert said(small) and not said(small, ("--num_processes", "2"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not said(small)
    (line,) = said({"per_device_train_batch_size": 3})
    assert "x 2 process(es) x 1 step(s)" in line

"""The meter: means over processes, and seconds of each part of a step."""

from collections import defaultdict

import pytest
import torch
from rl_helpers import logged

from hfllm.rl.meters import Meter


def test_a_mean_is_taken_over_all_processes_and_nan_does_not_count():
    metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    # A second process notes 10 and 20.
    meter = Meter(metrics, lambda: "eval", lambda sums: sums + torch.tensor([30.0, 2.0]))
    meter.note("x", torch.tensor([1.0, 2.0, float("nan")]))
    assert metrics["eval"]["x"] == [33 / 4] and not metrics["train"]


def test_the_parts_of_a_step_add_up_to_the_step_that_trl_measures(build):
    trainer = build()
    trainer.train()
    parts = [logged(trainer, f"time/{part}_s") for part in ("generate", "score", "update")]
    assert len(parts[0]) == 4
    for *seconds, step in zip(*parts, logged(trainer, "step_time"), strict=True):
        assert sum(seconds) == pytest.approx(step, abs=1e-6) and min(seconds) >= 0

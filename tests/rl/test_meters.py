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


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_the_parts_of_a_step_add_up_to_the_step(build, accumulation):
    """In every line of the log, also where accumulation does not divide an epoch (12 batches)."""
    trainer = build(
        gradient_accumulation_steps=accumulation,
        max_steps=10,
        per_device_train_batch_size=8,
        steps_per_generation=1,
        num_iterations=4 if accumulation < 3 else 1,
    )
    trainer.train()
    parts = [logged(trainer, f"time/{part}_s") for part in ("generate", "score", "update")]
    assert len(parts[0]) == len(logged(trainer, "step_time")) == 10
    for *seconds, step in zip(*parts, logged(trainer, "step_time"), strict=True):
        assert sum(seconds) == pytest.approx(step, abs=1e-6) and min(seconds) >= 0

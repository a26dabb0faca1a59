"""Defaults for the decay phase of the warmup-stable-decay learning rate schedule.

transformers' schedule needs `num_decay_steps` in lr_scheduler_kwargs. If the recipe sets none:

- pretraining: the last fifth of the steps, 1 - sqrt decay to a tenth of the rate. Source: Haegele
  et al. 2024 (Scaling laws and compute-optimal training beyond fixed training durations).
- SFT: the last third of the steps, cosine decay to zero; the number of steps is known only after
  the rows are packed.

In other stages it must be set (recipe.trainers checks that).
"""

from __future__ import annotations

from typing import Any

from hfllm.recipe.recipe import StepSpec

DECAY_SHARE = 0.2
SFT_DECAY_SHARE = 1 / 3


def decay_arguments(spec: StepSpec) -> dict[str, Any]:
    """Arguments for pretraining; {} with another schedule, or if the recipe sets the decay."""
    values = spec.stage.default_values() | spec.config.trainer
    given = values.get("lr_scheduler_kwargs") or {}
    if values.get("lr_scheduler_type") != "warmup_stable_decay" or "num_decay_steps" in given:
        return {}
    steps = max(1, int(DECAY_SHARE * int(values["max_steps"])))
    kwargs = {"num_decay_steps": steps, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}
    return {"lr_scheduler_kwargs": kwargs | given}


def sft_decay(args: Any) -> dict[str, Any] | None:
    """lr_scheduler_kwargs for SFT; `args` are TrainingArguments with their final `max_steps`."""
    given = args.lr_scheduler_kwargs or {}
    if args.lr_scheduler_type != "warmup_stable_decay" or "num_decay_steps" in given:
        return args.lr_scheduler_kwargs
    return {"num_decay_steps": max(1, int(SFT_DECAY_SHARE * args.max_steps))} | given

"""Defaults for the warm-up of the learning rate, and for the decay of warmup-stable-decay.

A stage's default warm-up is at most WARMUP_SHARE of the steps (a short training would end before it
reached its rate); one that the recipe sets is left alone.

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
WARMUP_SHARE = 0.1
FEW_STEPS = 10  # below it the plan warns


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


def shorten_warmup(spec: StepSpec, args: Any) -> None:
    """Cut the stage's default warm-up to a share of `args.max_steps`; one of the recipe stays."""
    given = spec.config.trainer
    if args.max_steps > 0 and not {"warmup_steps", "warmup_ratio"} & set(given):
        args.warmup_steps = min(args.warmup_steps, int(WARMUP_SHARE * args.max_steps))


def short_training_lines(spec: StepSpec, args: Any) -> list[str]:
    """Warnings on a training with few steps, or with a warm-up that covers all of them."""
    steps, key = args.max_steps, f"{spec.name}.trainer"
    if steps <= 0:
        return []
    lines = []
    warmup = args.get_warmup_steps(steps)
    if warmup >= steps:
        lines.append(
            f"warning: {key}.warmup_steps ({warmup}) covers all {steps} steps: the learning rate "
            "never reaches its value; lower it"
        )
    if steps < FEW_STEPS:
        by_length = "max_steps" in spec.stage.default_values() | spec.config.trainer
        more = "raise max_steps" if by_length else "add epochs"
        count = "1 step" if steps == 1 else f"{steps} steps"
        lines.append(
            f"warning: {count}: too little to learn from; {more}, or lower "
            f"per_device_train_batch_size x gradient_accumulation_steps ({key})"
        )
    return lines

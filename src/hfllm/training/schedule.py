"""Warmup-stable-decay needs a number of decay steps; the recipe gives the length of the run.

transformers' schedule takes `num_decay_steps` in lr_scheduler_kwargs and has no default for it.
Where the recipe leaves it out of pretraining, the last fifth of the run decays with 1 - sqrt to a
tenth, after Haegele et al. 2024 (Scaling laws and compute-optimal training beyond fixed training
durations); in SFT, whose length is known only when its rows are packed, the last third, by a cosine
to zero. Elsewhere it is asked for (recipe.trainers).
"""

from __future__ import annotations

from typing import Any

from hfllm.recipe.recipe import StepSpec

DECAY_SHARE = 0.2
SFT_DECAY_SHARE = 1 / 3


def decay_arguments(spec: StepSpec) -> dict[str, Any]:
    """lr_scheduler_kwargs of a warmup-stable-decay pretraining without a length of its decay."""
    values = spec.stage.default_values() | spec.config.trainer
    given = values.get("lr_scheduler_kwargs") or {}
    if values.get("lr_scheduler_type") != "warmup_stable_decay" or "num_decay_steps" in given:
        return {}
    steps = max(1, int(DECAY_SHARE * int(values["max_steps"])))
    kwargs = {"num_decay_steps": steps, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}
    return {"lr_scheduler_kwargs": kwargs | given}


def sft_decay(args: Any) -> dict[str, Any] | None:
    """lr_scheduler_kwargs of an SFT whose `max_steps` are known by now."""
    given = args.lr_scheduler_kwargs or {}
    if args.lr_scheduler_type != "warmup_stable_decay" or "num_decay_steps" in given:
        return args.lr_scheduler_kwargs
    return {"num_decay_steps": max(1, int(SFT_DECAY_SHARE * args.max_steps))} | given

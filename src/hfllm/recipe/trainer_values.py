"""Values of a `trainer:` section that the library's class accepts and its trainer fails on later.

Numbers outside of their range, lengths that train nothing, packages that are not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from omegaconf import OmegaConf

from hfllm.recipe.errors import first_line
from hfllm.recipe.ranges import (
    ABOVE_0,
    AT_LEAST_1,
    BELOW_1,
    NOT_NEGATIVE,
    SEED,
    SHARE,
    Range,
    not_finite,
    table_problems,
)
from hfllm.recipe.stage import Stage

# of the keys of TrainingArguments; `value_problem` looks at some of them together
TRAINER_RANGES: dict[str, Range] = {
    "per_device_train_batch_size": AT_LEAST_1,
    "per_device_eval_batch_size": AT_LEAST_1,
    "gradient_accumulation_steps": AT_LEAST_1,
    "num_train_epochs": NOT_NEGATIVE,
    "max_steps": Range(-1),  # -1: num_train_epochs counts
    "learning_rate": SHARE,
    "weight_decay": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,  # below 1: a share of the steps
    "max_grad_norm": NOT_NEGATIVE,
    "adam_beta1": BELOW_1,
    "adam_beta2": BELOW_1,
    "adam_epsilon": NOT_NEGATIVE,
    "label_smoothing_factor": BELOW_1,
    "neftune_noise_alpha": NOT_NEGATIVE,
    "torch_empty_cache_steps": AT_LEAST_1,
    "logging_steps": ABOVE_0,  # these three below 1: a share of the steps
    "eval_steps": NOT_NEGATIVE,  # 0: logging_steps
    "save_steps": ABOVE_0,
    "eval_delay": NOT_NEGATIVE,
    "eval_accumulation_steps": AT_LEAST_1,
    "save_total_limit": NOT_NEGATIVE,
    "seed": SEED,
    "data_seed": SEED,
    "dataloader_num_workers": NOT_NEGATIVE,
    "dataloader_prefetch_factor": AT_LEAST_1,
    "ddp_bucket_cap_mb": AT_LEAST_1,
    "ddp_timeout": AT_LEAST_1,
}


def number_problems(stage: Stage, values: Any) -> Iterator[str]:
    """One line for each number that is not finite or outside of its range.

    Args:
        stage: gives the ranges that its trainer class adds.
        values: the section as a structured config, with all defaults.
    """
    found: dict[str, Any] = OmegaConf.to_container(values)  # type: ignore[assignment]
    ranges = TRAINER_RANGES | dict(stage.ranges)
    yield from table_problems(found, ranges)
    yield from not_finite("", {key: found[key] for key in found if key not in ranges})


def value_problem(stage: Stage, config: Any) -> str | None:
    """A value that the config class accepts but the trainer fails on later, or None."""
    from transformers.integrations import get_available_reporting_integrations

    decays = config.lr_scheduler_type == "warmup_stable_decay"
    if (
        decays
        and not stage.sets_decay_steps
        and "num_decay_steps" not in (config.lr_scheduler_kwargs or {})
    ):
        return "lr_scheduler_kwargs: warmup_stable_decay needs {num_decay_steps: N} here"

    if config.max_steps == 0:  # the library takes it for "not set", and trains num_train_epochs
        return "max_steps: 0 trains nothing; use 1 or more, or leave it out"
    if config.max_steps < 0 and config.num_train_epochs <= 0:
        return f"num_train_epochs: {config.num_train_epochs} trains nothing; use more than 0"
    for tracker in config.report_to:
        if tracker not in ("none", "all", *get_available_reporting_integrations()):
            return f"report_to: '{tracker}' is not installed; run `pip install {tracker}`"
    return _missing_package(config)


def _missing_package(config: Any) -> str | None:
    """One line on a key whose package is not installed, or None."""
    from transformers import Trainer
    from transformers.utils import is_liger_kernel_available

    if getattr(config, "use_vllm", False) and find_spec("vllm") is None:
        return "use_vllm: needs the package vllm, and a GPU; install it, or leave the key out"
    if config.use_liger_kernel and not is_liger_kernel_available():
        return "use_liger_kernel: needs the package liger-kernel; install it, or leave the key out"
    try:
        Trainer.get_optimizer_cls_and_kwargs(config)
    except ImportError as error:
        return f"optim: {first_line(error)}; install it, or choose another"
    except Exception:  # it wants the model too; the trainer will tell
        pass
    return None

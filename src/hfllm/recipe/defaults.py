"""Where hfllm's default differs from the library's: one visible table, each value with its reason.

`hfllm show` prints the reason beside the value. Values that depend on the machine (bf16, use_cpu)
are decided by `recipe.trainers.hardware_defaults` when the trainer is built.
"""

from __future__ import annotations

from typing import Any

Default = tuple[Any, str]

_EVERY: dict[str, Default] = {
    "report_to": (
        "none",
        "no tracker unless the recipe names one; metrics.jsonl is always written",
    ),
    "logging_steps": (10, "one line every ten steps"),
    "save_strategy": ("steps", "a killed run goes on from its last checkpoint"),
    "save_steps": (200, "at most 200 steps are lost to a kill"),
    "save_total_limit": (2, "two checkpoints: the last, and the one before in case it is broken"),
    "remove_unused_columns": (
        False,
        "rows come ready-made from data/, with exactly what is needed",
    ),
    "dataloader_pin_memory": (False, "no gain for rows this small, a warning on CPU"),
    "disable_tqdm": (True, "hfllm prints its own progress"),
    "ddp_find_unused_parameters": (False, "every parameter is used; the search costs time"),
    "logging_nan_inf_filter": (False, "a NaN must be seen, not smoothed away"),
    "max_grad_norm": (1.0, "stated, because the report shows the norm against it"),
}

_TRL: dict[str, Default] = {
    "activation_checkpointing": (False, "trl switches it on; small models do not need it"),
}

DEFAULTS: dict[str, dict[str, Default]] = {
    "pretrain": _EVERY
    | {
        "lr_scheduler_type": (
            "warmup_stable_decay",
            "any step of the plateau can be annealed later",
        ),
        "learning_rate": (3e-3, "for models of a few million parameters"),
        "warmup_steps": (20, "Adam's second moment needs a few steps"),
        "weight_decay": (0.1, "usual for pretraining"),
        "adam_beta2": (0.95, "usual for pretraining; 0.999 reacts too slowly to loss spikes"),
        "train_sampling_strategy": ("sequential", "the mixture is the order: f(seed, step)"),
        "max_steps": (1000, "a length must be set: the mixture is laid out for it"),
        "per_device_train_batch_size": (16, "library default 8"),
        "eval_strategy": ("steps", "bits per byte along the way"),
        "eval_steps": (200, "bits per byte along the way"),
    },
    "sft": _EVERY
    | _TRL
    | {
        "train_sampling_strategy": ("sequential", "the mixture is the order: f(seed, step)"),
        "max_length": (
            None,
            "rows are cut and counted before packing, never by the trainer",
        ),
        "learning_rate": (5e-4, "for models of a few million parameters"),
        "lr_scheduler_type": ("cosine", "anneal to zero within the stage"),
        "warmup_steps": (10, "a few steps"),
        "per_device_train_batch_size": (16, "library default 8"),
        "num_train_epochs": (2.0, "library default 3"),
    },
    "reward": _EVERY
    | _TRL
    | {
        "train_sampling_strategy": ("sequential", "training/preference.py orders pairs by length"),
        "max_length": (None, "long pairs are dropped and counted by training/preference.py"),
        "center_rewards_coefficient": (0.01, "scores otherwise drift by a constant"),
        "learning_rate": (3e-4, "for models of a few million parameters"),
        "per_device_train_batch_size": (16, "library default 8"),
        "num_train_epochs": (1.0, "more epochs memorise pairs"),
    },
    "ppo": _EVERY
    | _TRL
    | {
        "learning_rate": (1e-4, "for models of a few million parameters"),
        "per_device_train_batch_size": (32, "one micro-batch per optimizer step on a CPU"),
        "max_completion_length": (64, "answers are short"),
        "save_steps": (64, "a rollout is saved with it, so any step will do"),
    },
}

# Keys of the libraries' classes that hfllm decides elsewhere: set here they would do nothing, or
# undo it. {stage: {key: where it is set}}
ELSEWHERE_EVERY = {
    "output_dir": "set run_dir; checkpoints stand in the step's own folder",
    "resume_from_checkpoint": "set the step's `resume` (true: from the last whole checkpoint)",
}
OF_THE_TOKENIZER = {  # changed by the trainer, after the rows were made
    "chat_template_path": "the template comes with the tokenizer of `init`",
    "eos_token": "the end of turn comes from the chat template",
    "pad_token": "one of its own is taken or added where it is the end of turn",
}
ELSEWHERE: dict[str, dict[str, str]] = {
    "pretrain": ELSEWHERE_EVERY
    | {"num_train_epochs": "set max_steps; the mixture is laid out for it"},
    "sft": ELSEWHERE_EVERY
    | {
        "packing": "set the step's data.packing",
        "max_length": "set the step's data.seq_len",
        "assistant_only_loss": "the loss is always on the assistant's tokens alone",
        "completion_only_loss": "the loss is always on the assistant's tokens alone",
        "dataset_kwargs": "rows come ready-made from data/",
        "dataset_text_field": "rename columns with `columns:` of a source",
    }
    | OF_THE_TOKENIZER,
    "reward": ELSEWHERE_EVERY | OF_THE_TOKENIZER | {"max_length": "set the step's data.seq_len"},
    "ppo": ELSEWHERE_EVERY,
}


def default_values(stage: str) -> dict[str, Any]:
    """hfllm's defaults of a stage's `trainer:` section, without the reasons."""
    return {key: value for key, (value, _) in DEFAULTS.get(stage, {}).items()}

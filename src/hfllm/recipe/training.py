"""Shared parts of training stages: trainer defaults with reasons, refused keys, console, charts.

A stage picks some and adds its own: `defaults=TRL_DEFAULTS | {"beta": (0.1, "usual")}`.
`hfllm show` prints the reason beside the value. Values that depend on the machine (bf16, use_cpu)
are set by `recipe.trainers.hardware_defaults` when the trainer is built.
"""

from __future__ import annotations

from hfllm.recipe.ranges import AT_LEAST_1
from hfllm.recipe.stage import Chart, Default

TRAINER_DEFAULTS: dict[str, Default] = {
    "report_to": (
        "none",
        "no tracker unless the recipe names one; metrics.jsonl is always written",
    ),
    "logging_steps": (10, "one line every ten steps"),
    "save_strategy": ("steps", "a killed run resumes from its last checkpoint"),
    "save_steps": (200, "a killed run loses at most 200 steps"),
    "save_total_limit": (2, "two checkpoints: the last, and the one before in case it is broken"),
    "remove_unused_columns": (
        False,
        "hfllm tokenizes the rows itself, with exactly the columns that are needed",
    ),
    "dataloader_pin_memory": (False, "no gain for rows this small, a warning on CPU"),
    "disable_tqdm": (True, "hfllm prints its own progress"),
    "ddp_find_unused_parameters": (False, "every parameter is used; the search costs time"),
    "logging_nan_inf_filter": (False, "a NaN must be seen in the log, not replaced by the mean"),
    "max_grad_norm": (1.0, "as in the library; set here because the report compares with it"),
}
TRL_DEFAULTS: dict[str, Default] = TRAINER_DEFAULTS | {
    "activation_checkpointing": (False, "trl's default is true; small models do not need it"),
}
SEQUENTIAL: Default = ("sequential", "rows are already in their order, a function of seed and step")
MILLIONS = "for models of a few million parameters"
SMALL_MODEL = 50e6  # parameters; above it the learning rate is the stage's `rates` for the size

# Trainer keys that a recipe may not set, because hfllm sets them elsewhere: here they would have no
# effect, or undo that setting. {key: where to set it}
TRAINER_ELSEWHERE = {
    "output_dir": "set run_dir; checkpoints are in the step's own folder",
    "resume_from_checkpoint": "set the step's `resume` (true: from the last complete checkpoint)",
}
TOKENIZER_ELSEWHERE = {  # trl would change these after the rows are tokenized
    "chat_template_path": "the template comes with the tokenizer of `init`",
    "eos_token": "the end of turn comes from the chat template",
    "pad_token": "a separate one is chosen or added if it equals the end of turn",
}
TRL_ELSEWHERE = TRAINER_ELSEWHERE | TOKENIZER_ELSEWHERE

TRL_RANGES = dict.fromkeys(("dataset_num_proc", "max_length", "pad_to_multiple_of"), AT_LEAST_1)

CONSOLE_HEAD = ("loss", "eval_loss")
CONSOLE_TAIL = ("learning_rate", "grad_norm", "tokens_per_s")


def with_eval(key: str) -> dict[str, str]:
    """The metrics of a chart: a key in training, and the same key on held-out data."""
    return {key: "train", f"eval_{key}": "held-out"}


TOKEN_LOSS = Chart(
    "Loss",
    with_eval("loss"),
    "nats per token",
    "How surprised the model is by the next token.",
    better="down",
    log=True,
)
ENTROPY = Chart(
    "Entropy",
    with_eval("entropy"),
    "nats per token",
    "How undecided the model is; near 0 it always says the same.",
)
TOKEN_ACCURACY = Chart(
    "Next token right",
    with_eval("mean_token_accuracy"),
    "share of tokens",
    "How often the likeliest token is the right one.",
    better="up",
)
LEARNING_RATE = Chart(
    "Learning rate", {"learning_rate": ""}, "learning rate", "The schedule.", folded=True
)
GRADIENT_NORM = Chart(
    "Gradient norm",
    {"grad_norm": "", "value/grad_norm": "critic"},
    "norm",
    "Before clipping; spikes warn of instability.",
    log=True,
    folded=True,
)
SPEED = Chart(
    "Speed",
    {"tokens_per_s": ""},
    "tokens per second",
    "Tokens that went through training per second of wall time.",
    better="up",
    folded=True,
)
TRAINER_CHARTS = (LEARNING_RATE, GRADIENT_NORM, SPEED)
# Times and counts that transformers logs: no chart, only a line in the table of all metrics.
TRAINER_UNCHARTED = (
    "epoch", "total_flos", "num_input_tokens_seen", "num_tokens", "train_loss", "train_runtime",
    "train_samples_per_second", "train_steps_per_second", "eval_runtime",
    "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time",
    "eval_num_tokens",
)  # fmt: skip

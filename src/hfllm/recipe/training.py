"""What training stages share beside their keys: defaults with reasons, keys set elsewhere, charts.

A stage takes what it wants and adds its own: `defaults=TRL_DEFAULTS | {"beta": (0.1, "usual")}`.
`hfllm show` prints the reason beside the value. Values that depend on the machine (bf16, use_cpu)
are decided by `recipe.trainers.hardware_defaults` when the trainer is built.
"""

from __future__ import annotations

from hfllm.recipe.stage import Chart, Default

TRAINER_DEFAULTS: dict[str, Default] = {
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
TRL_DEFAULTS: dict[str, Default] = TRAINER_DEFAULTS | {
    "activation_checkpointing": (False, "trl switches it on; small models do not need it"),
}
SEQUENTIAL: Default = ("sequential", "the mixture is the order: f(seed, step)")
MILLIONS = "for models of a few million parameters"

# Keys of the libraries' classes that hfllm decides elsewhere: set here they would do nothing, or
# undo it. {key: where it is set}
TRAINER_ELSEWHERE = {
    "output_dir": "set run_dir; checkpoints stand in the step's own folder",
    "resume_from_checkpoint": "set the step's `resume` (true: from the last whole checkpoint)",
}
OF_THE_TOKENIZER = {  # changed by the trainer, after the rows were made
    "chat_template_path": "the template comes with the tokenizer of `init`",
    "eos_token": "the end of turn comes from the chat template",
    "pad_token": "one of its own is taken or added where it is the end of turn",
}
TRL_ELSEWHERE = TRAINER_ELSEWHERE | OF_THE_TOKENIZER

CONSOLE_HEAD = ("loss", "eval_loss")
CONSOLE_TAIL = ("learning_rate", "grad_norm", "tokens_per_s")


def with_eval(key: str) -> dict[str, str]:
    """A chart's metrics: one key in training, and the same held out."""
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
LEARNING_RATE = Chart("Learning rate", {"learning_rate": ""}, "learning rate", "The schedule.")
GRADIENT_NORM = Chart(
    "Gradient norm",
    {"grad_norm": "", "value/grad_norm": "critic"},
    "norm",
    "Before clipping; spikes warn of instability.",
    log=True,
)
SPEED = Chart(
    "Speed",
    {"tokens_per_s": ""},
    "tokens per second",
    "Tokens that went through training per second of wall time.",
    better="up",
)
TRAINER_CHARTS = (LEARNING_RATE, GRADIENT_NORM, SPEED)
# What transformers logs beside: clocks and counts, in the table of all metrics.
TRAINER_UNCHARTED = (
    "epoch", "total_flos", "num_input_tokens_seen", "num_tokens", "train_loss", "train_runtime",
    "train_samples_per_second", "train_steps_per_second", "eval_runtime",
    "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time",
)  # fmt: skip

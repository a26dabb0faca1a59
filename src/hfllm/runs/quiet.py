"""Silence output of the libraries that does not help the user: banners, warnings, progress bars.

On a terminal the libraries' progress bars stay; in a log file they would be thousands of lines.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings

# deprecation warnings about trl's own calls into transformers, printed on every run
LIBRARY_WARNINGS = (
    "`return_outputs=True`, and the logits",
    "`is_gradient_checkpointing` is deprecated",
    # peft: what modeling/adapters.py does about tied and resized embeddings
    "Model has `tie_word_embeddings=True` and a tied layer is part of the adapter",
    "Setting `save_embedding_layers` to `True`",
)
# Lines of transformers that sound like faults and are none, by logger and how they begin.
HARMLESS = {
    # checkpoints that were written within a second
    "transformers.trainer_utils": (
        "mtime may not be reliable",
        "The tokenizer has new PAD/BOS/EOS tokens",  # said by the step, in its own words
    ),
    # of a model's generation_config.json; every verb sets its own way of decoding
    "transformers.generation.configuration_utils": (
        "The following generation flags are not valid",
    ),
    # the arguments of a reward function, for each rollout; rl/scored_answers.py counts and says it
    "trl.trainer.grpo_trainer": ("All reward functions returned None",),
}


class _Without(logging.Filter):
    """Leave out the records of a logger that begin with one of some words."""

    def __init__(self, begins: tuple[str, ...]) -> None:
        super().__init__()
        self.begins = begins

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        message = re.sub(r"^\[RANK \d+\] ", "", record.getMessage())  # of accelerate's loggers
        return not message.startswith(self.begins)


def quiet_libraries() -> None:
    """Set the filters; call before the first heavy import of a step's process."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for message in (".*pin_memory.*", *LIBRARY_WARNINGS):
        warnings.filterwarnings("ignore", message=message)
    for name, begins in HARMLESS.items():
        logging.getLogger(name).addFilter(_Without(begins))
    # deepspeed sets its logger's level when it is imported; a filter is kept
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")

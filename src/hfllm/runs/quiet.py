"""What libraries print that says nothing: bars of weight loading and saving, launch banners.

On a terminal the libraries' own progress bars stay; in a log they would be thousands of lines.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

# trl and transformers tell each other, on every run, of names that will go
OF_LIBRARIES_TO_EACH_OTHER = (
    "`return_outputs=True`, and the logits",
    "`is_gradient_checkpointing` is deprecated",
)


def quiet_libraries() -> None:
    """Before the first heavy import of a step's process."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for message in (".*pin_memory.*", *OF_LIBRARIES_TO_EACH_OTHER):
        warnings.filterwarnings("ignore", message=message)
    # deepspeed sets its logger's level at import, a filter stays
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")

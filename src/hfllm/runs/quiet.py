"""Silence output of the libraries that does not help the user: banners, warnings, progress bars.

On a terminal the libraries' progress bars stay; in a log file they would be thousands of lines.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

# deprecation warnings about trl's own calls into transformers, printed on every run
LIBRARY_WARNINGS = (
    "`return_outputs=True`, and the logits",
    "`is_gradient_checkpointing` is deprecated",
)


def quiet_libraries() -> None:
    """Set the filters; call before the first heavy import of a step's process."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for message in (".*pin_memory.*", *LIBRARY_WARNINGS):
        warnings.filterwarnings("ignore", message=message)
    # deepspeed sets its logger's level when it is imported; a filter is kept
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")

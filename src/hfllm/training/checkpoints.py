"""Mark checkpoints as complete once every process has written its part (runs/checkpoints.py)."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from hfllm.runs.checkpoints import mark_complete

MISSING = re.compile(r"There were missing keys in the checkpoint model loaded: (\[.*\])\.$")


@contextmanager
def without_tied_keys(model: Any) -> Iterator[None]:
    """Leave out transformers' line on "missing keys" if only tied weights are, which it left out.

    A checkpoint holds a matrix that two layers share once, and loading it fills both.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())

    def is_shown(record: logging.LogRecord) -> bool:
        found = MISSING.match(record.getMessage())
        return not (found and set(ast.literal_eval(found[1])) <= tied)

    logger = logging.getLogger("transformers.trainer")
    logger.addFilter(is_shown)
    try:
        yield
    finally:
        logger.removeFilter(is_shown)


class MarkCheckpoints(TrainerCallback):
    """Write the marker after each save, on the main process.

    Args:
        add_files: called with the checkpoint's folder and step before it is marked.
    """

    def __init__(self, add_files: Callable[[Path, int], None] = lambda *_: None) -> None:
        self.add_files = add_files

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait until every process has written its part (random state, rollouts), then mark."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and checkpoint.is_dir():
            self.add_files(checkpoint, state.global_step)
            mark_complete(checkpoint)

"""Run a model in eval mode without gradients, then restore its mode: for tests and samples."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside the block; the mode is restored after an error, too."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)

"""A model in evaluation for a moment, while it is tried or asked for a sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Inside, nothing is dropped and no gradient kept; the mode comes back, errors or not."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)

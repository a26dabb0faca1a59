"""FLOPs, seconds and money of a training step.

FLOPs a token, N parameters in matrix products (the head counts, a table that is looked up does
not), L layers, A width of the query heads, T tokens of a row:

- all weights trained: 6 N + 12 L A T: 2 N forward, 4 N backward; attention scores and the weighted
  sum of values, all T x T of them (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022,
  appendix B)
- an adapter of N' parameters: 4 N + 6 N' + 12 L A T: frozen weights get no gradient
- a frozen model, and a pass without a backward pass: 2 N + 4 L A T
- answers written by the model: one such pass for writing them (each token is written once), one
  for the old policy's log-probabilities, one for the reference and for each other frozen model, one
  for a separate critic's values; then the updates, `num_iterations` times

Work that is repeated (checkpointing: a third of it more) is no part of these FLOPs: as usual, a
model FLOP utilisation (MFU) counts each once, so that checkpointing lowers the MFU.
Seconds = FLOPs / (MFU x the devices' peak).
"""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.planning.devices import Device
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import ModelSize


@dataclass(frozen=True)
class Flops:
    """FLOPs a token of a row of the batch: of the weights, and of attention."""

    weights: float
    attention: float

    @property
    def total(self) -> float:
        """Both."""
        return self.weights + self.attention


def flops_per_token(size: ModelSize, row: RowShape, tokens: float, iterations: int = 1) -> Flops:
    """FLOPs of training on one token.

    Args:
        size: of the model.
        row: its models and passes.
        tokens: of a row, without padding; a pair's sides are rows of their own for attention.
        iterations: how often each sampled row is trained on.
    """
    n = size.matmul - (0 if row.scored else size.vocabulary * size.hidden)  # no head: one score
    once = 4.0 * size.layers * size.attention * tokens
    forward = 2.0 * n
    adapter = size.trained if size.adapter else 0
    update = forward * 2 + 6.0 * adapter if size.adapter else forward * 3
    passes = float(row.frozen)
    if row.answer:
        passes = (passes + 2 + (row.copies - 1)) / max(1, iterations)
    weights = row.copies * update + passes * forward
    return Flops(weights, (3 * row.copies + passes) * once)


def seconds(flops: float, device: Device, count: int, mfu: float, half: bool = True) -> float:
    """Seconds for so many FLOPs at a share `mfu` of the peak of `count` devices."""
    peak = device.flops if half else device.float32
    return flops / (mfu * peak * count)


def money(seconds: float, count: int, price: float) -> float:
    """What `count` devices cost at `price` a device and hour."""
    return seconds / 3600 * count * price

"""Held-out loss and bits per byte inside a trainer's evaluation loop.

Trainer averages the means of batches, which is wrong as soon as rows hold different numbers of
trained tokens. Here each row is reduced to (sum of nll, tokens) on the device, and the sums are
divided once. Bits per byte = nll / (ln 2 x bytes of the text): it survives a change of vocabulary,
which loss per token does not.

The rows are packed as in training: a document longer than seq_len is cut into chunks, whose first
token has nothing before it and is not scored, and the end of a document counts. So it is a little
off where documents are long; the evaluation's `bits_per_byte` scores every token once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


def row_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """For `preprocess_logits_for_metrics`: (B, L, V), (B, L) -> (B, 2) of nll sum and tokens."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    targets = labels[:, 1:]  # (B, L-1)
    nll = F.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), targets, ignore_index=-100, reduction="none"
    )  # (B, L-1)
    return torch.stack([nll.sum(1), (targets != -100).sum(1).float()], dim=1)


def nll_metrics(text_bytes: int | None) -> Callable[[Any], dict[str, float]]:
    """For `compute_metrics`: nll per token, and bits per byte where the bytes are known."""

    def compute(prediction: Any) -> dict[str, float]:
        nll, tokens = prediction.predictions.astype("float64").sum(axis=0)
        out = {"nll_per_token": float(nll / max(tokens, 1)), "tokens": float(tokens)}
        if text_bytes:
            out["bpb"] = float(nll / (math.log(2) * text_bytes))
        return out

    return compute

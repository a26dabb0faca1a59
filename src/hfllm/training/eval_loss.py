"""Held-out loss and bits per byte inside a trainer's evaluation loop.

Trainer averages the means of batches, which is wrong if rows have different numbers of trained
tokens. Here each row is reduced to (sum of nll, tokens) on the device, and the sums are divided
once. Bits per byte = nll / (ln 2 x bytes of the text): comparable between vocabularies, which loss
per token is not.

The rows are packed as in training: a document longer than seq_len is split into chunks, whose first
token has no context and is not scored, and EOS counts. So the figure is approximate for long
documents; the evaluation's `bits_per_byte` scores every token once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Trainer, TrainerCallback


def row_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Trainer's `preprocess_logits_for_metrics`: (B, L, V), (B, L) -> nll sum and tokens (B, 2)."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    targets = labels[:, 1:]  # (B, L-1)
    nll = F.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), targets, ignore_index=-100, reduction="none"
    )  # (B, L-1)
    return torch.stack([nll.sum(1), (targets != -100).sum(1).float()], dim=1)


def nll_metrics(text_bytes: int | None) -> Callable[[Any], dict[str, float]]:
    """Trainer's `compute_metrics`: nll per token, and bits per byte if `text_bytes` is known."""

    def compute(prediction: Any) -> dict[str, float]:
        nll, tokens = prediction.predictions.astype("float64").sum(axis=0)
        out = {"nll_per_token": float(nll / max(tokens, 1)), "tokens": float(tokens)}
        if text_bytes:
            out["bpb"] = float(nll / (math.log(2) * text_bytes))
        return out

    return compute


class FinalEvaluation(TrainerCallback):
    """The metrics of the trained model: those of an evaluation at the last step, if there was one.

    Evaluated once more, the same model gives the same figures, a second line in metrics.jsonl and
    every sample text twice.
    """

    def __init__(self, trainer: Trainer) -> None:
        """Start without an evaluation; add it to the trainer's callbacks."""
        self.trainer = trainer
        self.last: tuple[int, dict[str, float]] | None = None

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Keep the metrics and their step."""
        self.last = state.global_step, dict(metrics or {})

    def metrics(self) -> dict[str, float]:
        """Call it after training; {} without held-out rows. Times are left out."""
        if self.trainer.eval_dataset is None:
            return {}
        # another checkpoint than the last may have been loaded as the best one
        same = not self.trainer.args.load_best_model_at_end
        if same and self.last and self.last[0] == self.trainer.state.global_step:
            found = self.last[1]
        else:
            found = self.trainer.evaluate()
        return {k: v for k, v in found.items() if not k.endswith(("_runtime", "_per_second"))}

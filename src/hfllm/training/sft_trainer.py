"""TRL's SFTTrainer with one forward pass per evaluation batch instead of two."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput


class OnePassSFTTrainer(SFTTrainer):
    """SFTTrainer without TRL's second evaluation pass, which only computes logits (B, T, V)."""

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Return loss, nll sum and tokens (B, 2) instead of logits (as `row_sums`), and labels."""
        if prediction_loss_only:
            return super().prediction_step(model, inputs, True, ignore_keys)
        kept: list[Any] = []

        def keep(_module: Any, _args: Any, output: Any) -> None:
            # With label smoothing the model also runs once for logits.
            if isinstance(output, FusedCausalLMOutput):
                kept.append(output)

        hook = model.register_forward_hook(keep)
        try:
            loss, _, _ = super().prediction_step(model, inputs, True, ignore_keys)
        finally:
            hook.remove()
        (scored,) = kept
        sums = torch.stack([-scored.log_probs.float().sum(1), scored.label_mask.sum(1)], dim=1)
        return loss, sums, inputs["labels"]

"""A low-precision copy of the policy that writes the rollouts.

On a CPU with bf16, sampling is 1.3 times as fast from bf16 weights, and autocast gains nothing.
The copy costs half the policy's float32 memory, and a few milliseconds per rollout to bring up to
date. Only sampling is approximate: old and new log-probabilities are both the policy's own, so the
ratio of an untouched policy is 1.

The copy is built from the config, not with deepcopy: TRL replaces the policy's forward by a
closure over the original, and a deep copy would go on using the original's weights.
"""

import copy

import torch
from transformers import PreTrainedModel


class LowPrecisionCopy:
    """`model` is the copy; call `sync` before sampling from it."""

    def __init__(self, policy: PreTrainedModel, dtype: str) -> None:
        """Make an empty copy of `policy` in `dtype` ("bfloat16") on its device."""
        config = copy.deepcopy(policy.config)
        self.model = type(policy)._from_config(config, dtype=getattr(torch, dtype))
        self.model.generation_config = policy.generation_config
        self.model.to(policy.device).eval().requires_grad_(False)

    @torch.no_grad()
    def sync(self, policy: torch.nn.Module) -> None:
        """Copy the policy's weights, rounded to the copy's dtype."""
        source = policy.state_dict()
        for name, target in self.model.state_dict().items():
            target.copy_(source[name])

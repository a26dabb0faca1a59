"""The rollout policy: a low-precision copy of the policy that samples the answers.

On a CPU with bf16, sampling is 1.3 times as fast from bf16 weights, and autocast gains nothing.
Rows that have ended leave the copy's batch (fast_cpu/decoding.py), but for images, beams and
models that remember more than keys and values. The copy costs half the policy's float32 memory, and
a few milliseconds per rollout to bring up to date. Only sampling is approximate: old and new
log-probabilities are both the policy's own, so the ratio of an untouched policy is 1.

The copy is built from the config, not with deepcopy: TRL replaces the policy's forward by a
closure over the original, and a deep copy would go on using the original's weights.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel, Trainer

from hfllm.fast_cpu.decoding import only_samples_texts, rows_can_leave, without_ended_rows
from hfllm.modeling.adapters import without_adapter


class RolloutPolicy:
    """`model` is the copy; call `sync` before sampling from it."""

    def __init__(self, policy: PreTrainedModel, dtype: str, device: torch.device) -> None:
        """Make an empty copy of `policy` in `dtype` ("bfloat16") on `device`.

        Raises:
            ValueError: for an adapter that is more than low-rank matrices beside others.
        """
        _check_adapter(policy)
        base = without_adapter(policy)
        config = copy.deepcopy(base.config)
        self.model = type(base)._from_config(config, dtype=getattr(torch, dtype))
        self.model.generation_config = policy.generation_config
        self.model.to(device).eval().requires_grad_(False)
        if rows_can_leave(self.model):
            # An attribute of a module's own hides the method of its class.
            self.model.generate = partial(_generate, self.model.generate)

    @torch.no_grad()
    def sync(self, policy: torch.nn.Module) -> None:
        """Copy the policy's weights, rounded to the copy's dtype, one after the other."""
        targets = self.model.state_dict()
        missing = set(targets)
        for name, tensor in _merged(policy):
            if name in targets:  # the critic is none of the copy's
                targets[name].copy_(tensor)
                missing.discard(name)
        if missing:
            raise ValueError(
                f"generate_dtype: the policy has no weight {min(missing)} for the copy that "
                "samples; leave generate_dtype null"
            )

    @contextmanager
    def sampling_for(self, trainer: Trainer, policy: torch.nn.Module) -> Iterator[None]:
        """Inside, a TRL `trainer` samples from the copy of `policy`, brought up to date."""
        wrapped = trainer.model_wrapped
        self.sync(policy)
        trainer.model_wrapped = self.model
        try:
            yield
        finally:
            trainer.model_wrapped = wrapped


def _generate(generate: Any, *, generation_config: Any, **inputs: Any) -> torch.Tensor:
    """transformers' `generate`; ended rows leave the batch where it would only sample texts."""
    plain = only_samples_texts(generation_config, inputs)
    hook = {"custom_generate": without_ended_rows} if plain else {}
    return generate(generation_config=generation_config, **inputs, **hook)


def _check_adapter(policy: Any) -> None:
    for config in getattr(policy, "peft_config", {}).values():
        extras = ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices")
        found = [name for name in extras if getattr(config, name, None)]
        if str(getattr(config, "peft_type", "")).rpartition(".")[2] != "LORA":
            found = ["peft_type"]
        layers = (m for m in policy.modules() if isinstance(m, BaseTunerLayer))
        if any(isinstance(layer.get_base_layer(), torch.nn.Embedding) for layer in layers):
            found.append("target_modules with an embedding")
        if found:
            raise ValueError(
                f"generate_dtype: an adapter with {', '.join(found)} cannot be merged into the "
                "copy that samples; leave generate_dtype null"
            )


def _merged(policy: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The policy's weights by the names of the plain model, the active adapter added to them.

    Not with peft's merge_adapter: adding to the live weights and taking away again moves them.
    """
    if not hasattr(policy, "get_base_model"):
        yield from policy.state_dict().items()
        return
    base = policy.get_base_model()
    for name, tensor in base.state_dict().items():
        if ".lora_" not in name and not name.endswith(".base_layer.weight"):
            yield name.replace(".base_layer.", "."), tensor  # a bias
    for name, module in base.named_modules():
        if isinstance(module, BaseTunerLayer):
            layer: Any = module
            deltas = [layer.get_delta_weight(adapter) for adapter in layer.active_adapters]
            yield f"{name}.weight", layer.get_base_layer().weight + sum(deltas)

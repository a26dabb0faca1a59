"""The rollout policy: a low-precision copy of the policy, from which answers are sampled.

On a CPU with bf16, sampling from bf16 weights is 1.3 times as fast; autocast gains nothing. Rows
that have ended leave the copy's batch (fast_cpu/decoding.py), except with images, beams and models
whose cache holds more than keys and values. The copy takes half the memory of the float32 policy,
and a few milliseconds per rollout to synchronise. Only sampling is approximate: old and new
log-probabilities are both computed by the policy, so their ratio is 1 before an update. How far the
copy is from the policy is measured on a few answers of every rollout and logged ("sampler/kl").

The copy is built from the config, not with deepcopy: TRL replaces the policy's forward by a
closure over the original, so a deep copy would use the original's weights.
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
from hfllm.modeling.eval_mode import eval_mode

MEASURED_ROWS, MEASURED_TOKENS = 4, 512  # of a rollout, two forward passes each
# Nats a token between copy and policy. Rounding to bfloat16 gives 1e-5 to 1e-3; a copy whose head
# lacked an adapter was 0.5 away.
MAX_KL = 0.1


class RolloutPolicy:
    """The copy, `model`; call `sync` before sampling from it."""

    def __init__(self, policy: PreTrainedModel, dtype: str, device: torch.device) -> None:
        """Make a copy of `policy` in `dtype` ("bfloat16") on `device`, with weights still to sync.

        Raises:
            ValueError: the adapter is no plain LoRA, which could be merged into the copy.
        """
        _check_adapter(policy)
        base = without_adapter(policy)
        config = copy.deepcopy(base.config)
        if isinstance(base.get_output_embeddings(), BaseTunerLayer):
            config.tie_word_embeddings = False  # merged, head and embeddings are two matrices
        self.model = type(base)._from_config(config, dtype=getattr(torch, dtype))
        self.model.generation_config = policy.generation_config
        self.model.to(device).eval().requires_grad_(False)
        self._answers: list[torch.Tensor] = []  # ids of the first rows since the last sync
        self._is_checked = False
        # An attribute of the instance takes precedence over the method of its class.
        leaving = rows_can_leave(self.model)
        self.model.generate = partial(self._generate, self.model.generate, leaving)

    @torch.no_grad()
    def sync(self, policy: torch.nn.Module) -> None:
        """Copy the policy's weights one by one, rounded to the copy's dtype."""
        targets = self.model.state_dict()
        missing = set(targets)
        for name, tensor in _merged(policy):
            if name in targets:  # the copy has no critic
                targets[name].copy_(tensor)
                missing.discard(name)
        if missing:
            raise ValueError(
                f"generate_dtype: the policy has no weight {min(missing)} for the copy that "
                "samples; leave generate_dtype null"
            )

    @contextmanager
    def sampling_for(self, trainer: Trainer, policy: torch.nn.Module) -> Iterator[None]:
        """Context in which a TRL `trainer` samples from the copy, synchronised with `policy`.

        Raises:
            ValueError: the copy is another model than the policy.
        """
        wrapped = trainer.model_wrapped
        self.sync(policy)
        self._answers.clear()
        trainer.model_wrapped = self.model
        try:
            yield
        finally:
            trainer.model_wrapped = wrapped
        if self._answers:
            with trainer.accelerator.autocast():
                self._note_kl(self.kl(policy), trainer)

    def _generate(
        self, generate: Any, leaving: bool, *, generation_config: Any, **inputs: Any
    ) -> torch.Tensor:
        """transformers' `generate`, in which rows that have ended leave the batch if possible."""
        plain = only_samples_texts(generation_config, inputs)
        hook = {"custom_generate": without_ended_rows} if plain and leaving else {}
        out = generate(generation_config=generation_config, **inputs, **hook)
        if plain and isinstance(out, torch.Tensor):  # texts alone can be run again from their ids
            rows = _unpadded(inputs, out, generation_config.pad_token_id)
            self._answers = (self._answers + rows)[:MEASURED_ROWS]
        return out

    @torch.no_grad()
    def kl(self, policy: torch.nn.Module) -> torch.Tensor:
        """KL(copy || policy) of each token of a few answers since the last sync, in nats: (N,)."""
        found = []
        with eval_mode(policy):
            for ids in self._answers:
                ours, theirs = (
                    model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
                    for model in (self.model, policy)
                )  # (T, V) each
                found.append((ours.exp() * (ours - theirs)).sum(-1))
        return torch.cat(found)

    def _note_kl(self, kl: torch.Tensor, trainer: Any) -> None:
        """Log the KL; ValueError if the first one says that the copy is no copy."""
        trainer.meter.note("sampler/kl", kl)
        if not self._is_checked and kl.mean() > MAX_KL:
            raise ValueError(
                f"generate_dtype: the copy that samples is {kl.mean():.2g} nats a token from the "
                "policy: its answers would not be the policy's; leave generate_dtype null"
            )
        self._is_checked = True


def _unpadded(inputs: dict[str, Any], out: torch.Tensor, pad: int | None) -> list[torch.Tensor]:
    """Ids of the first rows of prompts and answers (B, P + T), without padding on either side."""
    prompt = inputs["input_ids"]
    mask = inputs.get("attention_mask")
    rows = []
    for i, row in enumerate(out[:MEASURED_ROWS]):
        begin = 0 if mask is None else int(mask[i].argmax())
        padding = (row[prompt.size(1) :] == pad).nonzero()
        end = prompt.size(1) + int(padding[0]) if len(padding) else len(row)
        rows.append(row[begin:end][:MEASURED_TOKENS])
    return rows


def _check_adapter(policy: Any) -> None:
    for config in getattr(policy, "peft_config", {}).values():
        extras = (
            "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices",
            "target_parameters", "alora_invocation_tokens",
        )  # fmt: skip
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
    """The policy's weights with the active adapter added, by the names of the plain model.

    Not with peft's merge_adapter: adding to the live weights and subtracting again rounds them.
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

"""The language-model head (hidden states -> logits) on labelled positions only, on a CPU.

TRL's fused head leaves unlabelled positions out on CUDA and XPU; on a CPU it scores every one,
recomputes the logits in the backward pass and multiplies in float32 there. Forward and backward of
2,048 tokens with 1,664 vocabulary entries take 371 ms with TRL's head and 261 with this one
(docs/benchmarks.md); a larger vocabulary gains more. `score_trained_positions` gives the model a
forward with the same contract (`fused_lm_head=True` returns TRL's `FusedCausalLMOutput`), so that
trl's SFTTrainer and GRPOTrainer, their metrics and losses stay as they are.

It needs logits that are the head's matrix times the last hidden state, which is tested once per
model (`has_plain_head`). inference/logits.py scores likelihoods in the same way. With
HFLLM_SLOW=trained_head training keeps TRL's head, and inference takes the model's own logits.
"""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from hfllm.fast_cpu import HEAD_CHUNK, SWITCH, is_on
from hfllm.fast_cpu.shared_prefix import last_hidden
from hfllm.modeling.adapters import without_adapter
from hfllm.modeling.eval_mode import eval_mode
from hfllm.recipe.errors import raise_out_of_memory

SLICE = 2**22  # logits held at once without a backward pass
FIELDS = ("log_probs", "entropy", "is_top1")
# What TRL's DPOTrainer and KTOTrainer log or weigh by: logits and log p, (N, V) each -> (N,)
EXTRA = {
    "mean_logits": lambda logits, table: logits.mean(dim=-1),
    "log_sum_sq_probs": lambda logits, table: torch.logsumexp(2 * table, dim=-1),
}
_has_plain_head: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()  # tested once


@dataclass(frozen=True)
class Scoring:
    """How log-probabilities and entropies are computed from logits."""

    temperature: float = 1.0  # the logits are divided by it
    entropy_grad: bool = False  # True: the loss has an entropy bonus; else it is only logged
    extra: tuple[str, ...] = ()  # further fields, of EXTRA; without gradient


def score_trained_positions(model: Any, output_class: Any, how: Scoring = Scoring()) -> bool:
    """Replace the fused head that a TRL trainer gave to a model; return whether that was done.

    Not done on a GPU (TRL's own kernels run there), with the switch off, and for a model that
    changes its logits after the head (soft-capping, scaling) or adds a loss of its own (mixture of
    experts).

    Args:
        model: a causal LM, with or without an adapter; its `forward` is replaced.
        output_class: trl's `FusedCausalLMOutput` (trl is imported in `stages/` and `rl/` only).
        how: temperature, whether entropies carry a gradient, and which further fields there are.
    """
    base = without_adapter(model)
    if base.device.type != "cpu" or not may_score_positions(base):
        return False
    trl_forward = base.forward

    @functools.wraps(type(base).forward)  # `generate` reads the signature
    def forward(
        self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any
    ) -> Any:
        if not fused_lm_head:
            return trl_forward(*args, labels=labels, **kwargs)
        hidden, cut = _hidden(self.base_model, labels, *args, **kwargs)  # (B, T - cut, H)
        fields = _fields(self.get_output_embeddings(), hidden[:, :-1], labels[:, cut + 1 :], how)
        return output_class(**{name: _pad_left(x, cut) for name, x in fields.items()})

    base.forward = types.MethodType(forward, base)
    return True


def _hidden(
    trunk: Any, labels: torch.Tensor, input_ids: Any = None, **kwargs: Any
) -> tuple[torch.Tensor, int]:
    """Last hidden states (B, T - N, H), and N: the shared prefix of unlabelled columns left out."""
    inputs = {key: x for key, x in kwargs.items() if x is not None and key != "use_cache"}
    if input_ids is None:
        return trunk(use_cache=False, **inputs).last_hidden_state, 0
    first = int((labels != -100).any(dim=0).int().argmax()) - 1  # it predicts the first label
    return last_hidden(trunk, input_ids, keep=input_ids.size(1) - max(0, first), **inputs)


def _pad_left(x: torch.Tensor, columns: int) -> torch.Tensor:
    """A field (B, T - N) with the N columns put back, zero as nothing is labelled there: (B, T)."""
    return torch.nn.functional.pad(x, (columns, 0)) if x.dim() == 2 and columns else x


def may_score_positions(model: PreTrainedModel) -> bool:
    """Whether the head may be applied to single positions: it is all there is, and switched on."""
    return is_on("trained_head") and has_plain_head(model)


def why_kept(model: Any) -> str:
    """The manifest's note where `score_trained_positions` did nothing to a model on a CPU."""
    base = without_adapter(model)
    if not is_on("trained_head"):
        why = f"{SWITCH} names trained_head"
    elif _routes_tokens(base):
        why = "its loss has a part of the experts' router"
    else:
        why = "the model changes its hidden states before the head, or its logits behind it"
    return f"trl's fused head is kept, slower on a CPU: {why}"


def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the model's logits are its head's matrix times its last hidden state.

    Tested once per model, rather than read from the config: each architecture names its extras
    (soft-capping, scaling) in its own way. In one forward pass the trunk's hidden states and the
    head's output are replaced by known numbers: the first must reach the head, and the second the
    caller, unchanged. So weights, dtype and autocast play no part.
    """
    if model not in _has_plain_head:
        try:
            _has_plain_head[model] = not _routes_tokens(model) and _passes_through(model)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # no own trunk, ...
            raise_out_of_memory(error)
            _has_plain_head[model] = False
    return _has_plain_head[model]


def _routes_tokens(model: Any) -> bool:
    return getattr(model.config.get_text_config(), "output_router_logits", None) is not None


def _passes_through(model: Any) -> bool:
    """Whether planted hidden states reach the head, and planted logits the caller, unchanged."""
    ids = torch.tensor([[0, 1]], device=model.device)
    states: list[torch.Tensor] = []  # of the trunk
    at_head: list[torch.Tensor] = []  # what reached the head
    logits: list[torch.Tensor] = []  # of the head

    def plant_states(_module: Any, _args: Any, output: Any) -> None:
        states.append(_known(output.last_hidden_state))
        output.last_hidden_state = states[-1]

    def plant_logits(_module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        at_head.append(args[0])
        logits.append(_known(output))
        return logits[-1]

    hooks = [model.get_output_embeddings().register_forward_hook(plant_logits)]
    with eval_mode(model):
        try:
            hooks.append(model.base_model.register_forward_hook(plant_states))
            found = model(input_ids=ids, use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        if len(logits) != 1 or not _equal(found, logits[0]):
            return False
        if states:
            return _equal(at_head[0], states[0])
        # OPT runs the decoder inside its trunk by itself. Another factor is more than rounding.
        alone = model.base_model(input_ids=ids, use_cache=False).last_hidden_state.float()
        return bool((alone - at_head[0].float()).norm() < 0.02 * alone.norm())


def _equal(x: torch.Tensor, y: torch.Tensor) -> bool:
    return x.shape == y.shape and torch.equal(x.float(), y.float())


def _known(x: torch.Tensor) -> torch.Tensor:
    """Whole numbers from -100 to 100 in the shape of `x`: exact in every dtype, beyond any cap."""
    return (torch.arange(x.numel(), device=x.device) % 201 - 100).reshape(x.shape).to(x.dtype)


def _fields(
    head: Any, hidden: torch.Tensor, targets: torch.Tensor, how: Scoring
) -> dict[str, torch.Tensor]:
    """Hidden states (B, T, H) and labels (B, T) -> TRL's fields, (B, T), 0 where label is -100."""
    mask = targets != -100
    rows, labels = hidden[mask], targets[mask]  # (N, H), (N,)
    backward = torch.is_grad_enabled()
    size = max(1, (HEAD_CHUNK if backward else SLICE) // head.weight.shape[0])
    parts = list(zip(rows.split(size), labels.split(size), strict=True))
    if len(parts) == 1 or not backward:
        scores = [_scores(head, *part, how) for part in parts]
    else:
        scores = [checkpoint(_scores, head, *part, how, use_reentrant=False) for part in parts]
    found = {}
    for name, field in zip((*FIELDS, *how.extra), zip(*scores, strict=True), strict=True):
        values = torch.cat(field)
        found[name] = values.new_zeros(mask.shape).masked_scatter(mask, values)
    loss = -found["log_probs"].sum() / mask.sum().clamp(min=1)
    return found | {"loss": loss, "label_mask": mask}


def _scores(
    head: Any, rows: torch.Tensor, labels: torch.Tensor, how: Scoring
) -> tuple[torch.Tensor, ...]:
    """Log-probability of each label, entropy (both nats), whether the label is top-1: (N,) each.

    Then the further fields of `how`.
    """
    logits = head(rows).float()
    if how.temperature != 1.0:
        logits = logits / how.temperature
    table = torch.log_softmax(logits, dim=-1)  # (N, V)
    log_probs = table.gather(-1, labels[:, None]).squeeze(-1)
    with torch.set_grad_enabled(how.entropy_grad and torch.is_grad_enabled()):
        entropy = -(table.exp() * table).sum(dim=-1)
    is_top1 = table.argmax(dim=-1) == labels
    with torch.no_grad():
        extra = [EXTRA[name](logits, table) for name in how.extra]
    return log_probs, entropy, is_top1, *extra

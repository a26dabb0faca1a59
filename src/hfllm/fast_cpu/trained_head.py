"""The language-model head on the positions that need it only, where TRL's scores them all.

TRL's fused head skips the other positions on CUDA and XPU; elsewhere it scores each of them,
recomputes the logits in the backward and multiplies in float32 there. On two CPU cores that took
30% of a step of SFT with 1,664 entries, and more with a larger vocabulary. This head has the same
contract (`fused_lm_head=True` returns TRL's `FusedCausalLMOutput`), so that trl's SFTTrainer and
GRPOTrainer, their metrics and their losses stay as they are.
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

from hfllm.fast_cpu.shared_prefix import last_hidden
from hfllm.modeling.adapters import without_adapter
from hfllm.modeling.eval_mode import eval_mode

CHUNK = 2**27  # logits held for a backward: 512 MB in float32; more are recomputed in it
SLICE = 2**22  # logits held without one
KEPT = "the model changes its logits behind the head: trl's is kept"  # where that was not done

_has_plain_head: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()  # tried once


@dataclass(frozen=True)
class Scoring:
    """How a label's probability is read from its logits."""

    temperature: float = 1.0  # the logits are divided by it
    entropy_grad: bool = False  # for an entropy bonus; else the entropy is for the log only


def score_trained_positions(model: Any, output_class: Any, how: Scoring = Scoring()) -> bool:
    """Replace the fused head that a TRL trainer gave to `model`; say whether that was done.

    `output_class` is trl's `FusedCausalLMOutput` (trl is imported in `stages/` and `rl/` only).
    Not where TRL's own kernels run, and not for a model that does more to its logits than the
    head's matrix (soft-capping, scaling) or has a loss of its own (mixture of experts).
    """
    base = without_adapter(model)
    if base.device.type != "cpu" or not has_plain_head(base):
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
        return output_class(**{name: _widened(x, cut) for name, x in fields.items()})

    base.forward = types.MethodType(forward, base)
    return True


def _hidden(
    trunk: Any, labels: torch.Tensor, input_ids: Any = None, **kwargs: Any
) -> tuple[torch.Tensor, int]:
    """Last hidden states, less the columns that all rows begin with where only ids are given."""
    inputs = {key: x for key, x in kwargs.items() if x is not None and key != "use_cache"}
    if input_ids is None:
        return trunk(use_cache=False, **inputs).last_hidden_state, 0
    first = int((labels != -100).any(dim=0).int().argmax()) - 1  # predicts the first label
    return last_hidden(trunk, input_ids, keep=input_ids.size(1) - max(0, first), **inputs)


def _widened(x: torch.Tensor, columns: int) -> torch.Tensor:
    """A field (B, T) with columns put back where nothing is trained; the loss as it is."""
    return torch.nn.functional.pad(x, (columns, 0)) if x.dim() == 2 and columns else x


def has_plain_head(model: Any) -> bool:
    """Whether the model's logits are its head's matrix times its last hidden state.

    Tried on two tokens rather than told from names: each architecture spells its extras otherwise.
    """
    if getattr(model.config.get_text_config(), "output_router_logits", None) is not None:
        return False
    ids = torch.tensor([[0, 1]], device=model.device)
    with eval_mode(model):
        whole = model(input_ids=ids, use_cache=False).logits
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return torch.allclose(whole, model.get_output_embeddings()(hidden), rtol=1e-3, atol=1e-3)


def plain_head(model: PreTrainedModel) -> bool:
    """Whether the logits are the head's matrix times the trunk's output; tried once a model."""
    if model not in _has_plain_head:
        try:
            _has_plain_head[model] = has_plain_head(model)
        except (TypeError, ValueError, AttributeError, RuntimeError):  # no trunk of its own, ...
            _has_plain_head[model] = False
    return _has_plain_head[model]


def _fields(
    head: Any, hidden: torch.Tensor, targets: torch.Tensor, how: Scoring
) -> dict[str, torch.Tensor]:
    """Hidden states (B, T, H) and labels (B, T) -> TRL's fields (B, T), zero off the mask."""
    mask = targets != -100
    rows, labels = hidden[mask], targets[mask]  # (N, H), (N,)
    backward = torch.is_grad_enabled()
    size = max(1, (CHUNK if backward else SLICE) // head.weight.shape[0])
    parts = list(zip(rows.split(size), labels.split(size), strict=True))
    if len(parts) == 1 or not backward:
        scores = [_scores(head, *part, how) for part in parts]
    else:
        scores = [checkpoint(_scores, head, *part, how, use_reentrant=False) for part in parts]
    log_probs, entropy, is_top1 = (torch.cat(field) for field in zip(*scores, strict=True))
    place = [x.new_zeros(mask.shape).masked_scatter(mask, x) for x in (log_probs, entropy, is_top1)]
    return {
        "loss": -place[0].sum() / mask.sum().clamp(min=1),
        "log_probs": place[0],
        "entropy": place[1],
        "is_top1": place[2],
        "label_mask": mask,
    }


def _scores(
    head: Any, rows: torch.Tensor, labels: torch.Tensor, how: Scoring
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probability of each label, entropy in nats, is the label the most likely: (N,)."""
    logits = head(rows).float()
    if how.temperature != 1.0:
        logits = logits / how.temperature
    table = torch.log_softmax(logits, dim=-1)  # (N, V)
    log_probs = table.gather(-1, labels[:, None]).squeeze(-1)
    with torch.set_grad_enabled(how.entropy_grad and torch.is_grad_enabled()):
        entropy = -(table.exp() * table).sum(dim=-1)
    is_top1 = table.argmax(dim=-1) == labels
    return log_probs, entropy, is_top1

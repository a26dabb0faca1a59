"""What all rows of a batch begin with is run through the model once: a system prompt, in chats.

Its keys and values are computed in one row and stand before the rest of every row, in
transformers' own cache; gradients flow back through them. Answers of SmolLM2-135M-Instruct share
22 of their 90 tokens. vLLM does the same between requests (automatic prefix caching).

Not every architecture gives the same figures from a cache that was filled apart: a window over the
past, a recurrent state, positions that are read by a row's length, checkpointing, dropout. What the
config tells is believed, and the rest is tried on the first batch of a model, with and without;
where that differs, all is run whole. On a CPU only: what it is worth elsewhere was not measured.
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache

from hfllm.modeling.eval_mode import eval_mode

MIN_SAVED = 128  # tokens: a pass of its own costs as much as 90 on two cores (all weights are read)
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "attention_window")
BY_LENGTH = ("dynamic", "longrope")  # rotary frequencies that change with the longest position
# What the order of sums may change in hidden states, as a share of their norm.
SLACK = {torch.float32: 1e-4}
ROUNDED = 0.05  # in bf16
_same: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()  # tried once a model


def sees_everything(config: Any) -> bool:
    """Whether each token attends to all before it, as far as the config tells."""
    layers = getattr(config, "layer_types", None) or []
    windowed = any(getattr(config, name, None) for name in WINDOWS)
    return not windowed and all(layer == "full_attention" for layer in layers)


def cache_name(model: Any) -> str:
    """What the model's forward calls its key-value cache.

    transformers renames past_key_values to cache, model by model, until 5.40.
    """
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def last_hidden(
    trunk: Any, input_ids: torch.Tensor, keep: int, **inputs: Any
) -> tuple[torch.Tensor, int]:
    """Last hidden states of the rows, less N columns that all of them begin with.

    Args:
        trunk: a decoder without its head.
        input_ids: (B, T), each row from the first column on, padded behind.
        keep: the last `keep` columns are not left out.
        inputs: others of the trunk; with any of them the rows are run whole (N is 0).

    Returns:
        (B, T - N, H), and N.
    """
    alone = bool(inputs) or input_ids.device.type != "cpu"
    shared = 0 if alone else _shared_columns(input_ids, keep)
    if shared * (len(input_ids) - 1) < MIN_SAVED or not _lends_itself(trunk, input_ids, shared):
        return trunk(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state, 0
    return _behind_prefix(trunk, input_ids, shared), shared


def _shared_columns(ids: torch.Tensor, keep: int) -> int:
    """How many columns at the beginning are the same in all rows, `keep` at the end left out."""
    if len(ids) < 2:
        return 0
    alike = (ids[:, : max(0, ids.size(1) - keep)] == ids[:1, : max(0, ids.size(1) - keep)]).all(0)
    return int(alike.cumprod(0).sum())


def _behind_prefix(trunk: Any, ids: torch.Tensor, shared: int) -> torch.Tensor:
    cache, key = DynamicCache(config=trunk.config), cache_name(trunk)
    trunk(input_ids=ids[:1, :shared], use_cache=True, **{key: cache})
    cache.batch_repeat_interleave(len(ids))
    rest = trunk(input_ids=ids[:, shared:], use_cache=True, **{key: cache})
    return rest.last_hidden_state


def _lends_itself(trunk: Any, ids: torch.Tensor, shared: int) -> bool:
    """Whether hidden states behind a prefix that was run apart are those of the whole rows."""
    if trunk.training and _drops_or_replays(trunk):
        return False
    if trunk not in _same:
        config = trunk.config.get_text_config()
        fixed = not any(kind in str(getattr(config, "rope_parameters", "")) for kind in BY_LENGTH)
        _same[trunk] = (
            fixed and sees_everything(config) and _tried(trunk, ids[:2, : shared + 8], shared)
        )
    return _same[trunk]


def _drops_or_replays(trunk: torch.nn.Module) -> bool:
    """Whether there is dropout (rows would share what is dropped), or checkpointing (no cache)."""
    for module in trunk.modules():
        if getattr(module, "gradient_checkpointing", False):
            return True
        if isinstance(module, torch.nn.Dropout) and module.p > 0:
            return True
        named = (x for name, x in vars(module).items() if "drop" in name)
        if any(isinstance(x, float) and x > 0 for x in named):
            return True
    return False


def _tried(trunk: Any, ids: torch.Tensor, shared: int) -> bool:
    try:
        with eval_mode(trunk), torch.autocast(ids.device.type, enabled=False):
            whole = trunk(input_ids=ids, use_cache=False).last_hidden_state[:, shared:].float()
            apart = _behind_prefix(trunk, ids, shared).float() - whole
    except Exception:  # noqa: BLE001 - whatever it does with such a cache, it is run whole
        return False
    return bool(apart.norm() <= SLACK.get(trunk.dtype, ROUNDED) * whole.norm())

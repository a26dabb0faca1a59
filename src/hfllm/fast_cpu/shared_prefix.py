"""The token prefix that all rows of a batch share is run through the model once (prefix caching).

In chats this is the template and the system prompt: 22 of the 90 tokens of an answer of
SmolLM2-135M-Instruct. The prefix is run as one row; its keys and values are repeated for every row
in transformers' own cache, and the rest of the rows is run after it. Gradients flow back through
the cache. vLLM does the same between requests (automatic prefix caching).

Not every architecture gives the same hidden states from such a cache: sliding windows, recurrent
states, rotary frequencies that depend on the length, gradient checkpointing, dropout. What the
config says is taken as given; the rest is tested once per model, on its first batch, with and
without; where hidden states differ by more than rounding, rows are run whole. On a CPU only (not
measured elsewhere). HFLLM_SLOW=shared_prefix runs all rows whole.
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache

from hfllm.fast_cpu import is_on
from hfllm.modeling.eval_mode import eval_mode
from hfllm.recipe.errors import raise_out_of_memory

MIN_SAVED = 128  # tokens; a further pass costs as much as 90 on two cores: it reads all weights
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "attention_window")
BY_LENGTH = ("dynamic", "longrope")  # rotary frequencies that change with the longest position
# Largest difference of hidden states that another order of summation explains, relative to their
# norm.
TOLERANCE = {torch.float32: 1e-4}
LOW_PRECISION_TOLERANCE = 0.05  # bfloat16, float16
_supported: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()  # tested once a model


def has_full_attention(config: Any) -> bool:
    """Whether every layer attends to all earlier tokens, as far as the config says."""
    layers = getattr(config, "layer_types", None) or []
    windowed = any(getattr(config, name, None) for name in WINDOWS)
    return not windowed and all(layer == "full_attention" for layer in layers)


def cache_name(model: Any) -> str:
    """The argument of the model's forward that takes the key-value cache.

    transformers renames past_key_values to cache, model by model, until 5.40.
    """
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def last_hidden(
    trunk: Any, input_ids: torch.Tensor, keep: int, **inputs: Any
) -> tuple[torch.Tensor, int]:
    """Last hidden states of the rows, without the first N columns, which are the shared prefix.

    Args:
        trunk: a decoder without its head.
        input_ids: (B, T), padded on the right if at all.
        keep: the last `keep` columns are always returned (N is at most T - keep).
        inputs: further arguments of the trunk; with any of them rows are run whole (N is 0).

    Returns:
        (B, T - N, H), and N.
    """
    usable = is_on("shared_prefix") and not inputs and input_ids.device.type == "cpu"
    shared = _shared_columns(input_ids, keep) if usable else 0
    if shared * (len(input_ids) - 1) < MIN_SAVED or not _is_supported(trunk, input_ids, shared):
        return trunk(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state, 0
    return _hidden_after_prefix(trunk, input_ids, shared), shared


def _shared_columns(ids: torch.Tensor, keep: int) -> int:
    """How many of the first T - keep columns are the same in all rows; 0 for a single row."""
    if len(ids) < 2:
        return 0
    alike = (ids[:, : max(0, ids.size(1) - keep)] == ids[:1, : max(0, ids.size(1) - keep)]).all(0)
    return int(alike.cumprod(0).sum())


def _hidden_after_prefix(trunk: Any, ids: torch.Tensor, shared: int) -> torch.Tensor:
    """Hidden states (B, T - shared, H) of rows (B, T) whose first `shared` columns are the same."""
    cache, key = DynamicCache(config=trunk.config), cache_name(trunk)
    trunk(input_ids=ids[:1, :shared], use_cache=True, **{key: cache})
    cache.batch_repeat_interleave(len(ids))
    rest = trunk(input_ids=ids[:, shared:], use_cache=True, **{key: cache})
    return rest.last_hidden_state


def _is_supported(trunk: Any, ids: torch.Tensor, shared: int) -> bool:
    """Whether hidden states after a cached prefix are those of the whole rows."""
    if trunk.training and _has_dropout_or_checkpointing(trunk):
        return False
    if trunk not in _supported:
        config = trunk.config.get_text_config()
        fixed = not any(kind in str(getattr(config, "rope_parameters", "")) for kind in BY_LENGTH)
        _supported[trunk] = (
            fixed
            and has_full_attention(config)
            and _agrees_with_whole_rows(trunk, ids[:2, : shared + 8], shared)
        )
    return _supported[trunk]


def _has_dropout_or_checkpointing(trunk: torch.nn.Module) -> bool:
    """Dropout (one mask would serve all rows), or gradient checkpointing (no cache)."""
    for module in trunk.modules():
        if getattr(module, "gradient_checkpointing", False):
            return True
        if isinstance(module, torch.nn.Dropout) and module.p > 0:
            return True
        named = (x for name, x in vars(module).items() if "drop" in name)
        if any(isinstance(x, float) and x > 0 for x in named):
            return True
    return False


def _agrees_with_whole_rows(trunk: Any, ids: torch.Tensor, shared: int) -> bool:
    try:
        with eval_mode(trunk), torch.autocast(ids.device.type, enabled=False):
            whole = trunk(input_ids=ids, use_cache=False).last_hidden_state[:, shared:].float()
            apart = _hidden_after_prefix(trunk, ids, shared).float() - whole
    except Exception as error:  # noqa: BLE001 - however it fails with such a cache, rows are run whole
        raise_out_of_memory(error)
        return False
    tolerance = TOLERANCE.get(trunk.dtype, LOW_PRECISION_TOLERANCE)
    return bool(apart.norm() <= tolerance * whole.norm())

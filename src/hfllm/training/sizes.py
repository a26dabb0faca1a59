"""The sizes of a model by arithmetic from its config, without torch or transformers.

For the families below, whose blocks are Llama's with small differences; a test compares each with
the parameters of the model that transformers builds. None where this arithmetic does not hold: then
`memory.model_size` builds the model without weights, which imports torch (seconds).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.graph import first_ancestor
from hfllm.recipe.hub_cache import cached_file
from hfllm.recipe.model_names import is_gguf
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import TOKENIZER
from hfllm.training.memory import ModelSize


@dataclass(frozen=True)
class Family:
    """What sets a model type apart from Llama, and the library's defaults of optional keys."""

    tied: bool = False  # tie_word_embeddings
    qkv_bias: bool = False
    attention_bias: bool = False  # takes the key attention_bias: biases of q, k, v and o
    mlp_bias: bool = False  # takes the key mlp_bias
    head_dim: int | None = None  # None: hidden size / heads
    all_heads: bool = True  # num_key_value_heads is num_attention_heads where it is not set
    qk_norm: str = ""  # "head": of a head's width; "full": of all heads


FAMILIES = {
    "llama": Family(attention_bias=True, mlp_bias=True),
    "mistral": Family(all_heads=False),
    "smollm3": Family(tied=True, attention_bias=True, mlp_bias=True, all_heads=False),
    "qwen2": Family(qkv_bias=True, all_heads=False),
    "qwen3": Family(attention_bias=True, head_dim=128, all_heads=False, qk_norm="head"),
    "olmo2": Family(attention_bias=True, qk_norm="full"),
    "olmo3": Family(attention_bias=True, qk_norm="full"),
}
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
          "vocab_size")  # fmt: skip
PEFT_KEYS = {"r", "lora_alpha", "lora_dropout", "target_modules", "bias", "use_rslora",
             "init_lora_weights", "task_type"}  # fmt: skip


def light_config(recipe: Recipe, spec: StepSpec) -> dict[str, Any] | None:
    """The config of the model that a step starts from, as a dict; None where only torch can tell.

    Reads the recipe, a folder's config.json, or that of a hub id in the cache.
    """
    root = first_ancestor(recipe, spec)
    init = getattr(root.config, "init", None)
    if init:
        return None if is_gguf(init) else _config_of(init)
    model = getattr(root.config, "model", None)
    if not isinstance(model, dict):
        return None
    maker = recipe.steps.get(root.config.tokenizer or TOKENIZER)
    made = getattr(maker.config, "vocab_size", None) if maker else None
    return {"vocab_size": made, **model}


def _config_of(reference: str) -> dict[str, Any] | None:
    """config.json of a folder or of a hub id in the cache, or None."""
    file = Path(reference) / "config.json"
    found = file if file.is_file() else cached_file(reference, "config.json")
    if found is None:
        return None
    try:
        config = json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # said by the checks before a run
        return None
    return config if isinstance(config, dict) else None


def arithmetic_size(
    config: Mapping[str, Any], peft: dict[str, Any] | None = None
) -> ModelSize | None:
    """The sizes of a causal LM of this config, with the adapter of `peft`; None if not known."""
    family = FAMILIES.get(str(config.get("model_type")))
    values = [config.get(key) for key in NEEDED]
    if family is None or not all(type(value) is int and value > 0 for value in values):
        return None
    hidden, mlp, layers, heads, vocabulary = (int(value) for value in values if value)
    if "num_key_value_heads" not in config and not family.all_heads:
        return None
    of_keys = config.get("num_key_value_heads") or heads
    per_head = config.get("head_dim") or family.head_dim or hidden // heads
    attention, keys = heads * per_head, of_keys * per_head
    linears = _linears(hidden, mlp, attention, keys)
    bias = family.qkv_bias or (family.attention_bias and bool(config.get("attention_bias")))
    other = 2 * hidden + {"": 0, "head": 2 * per_head, "full": attention + keys}[family.qk_norm]
    other += bias * (attention + 2 * keys + hidden * (not family.qkv_bias))
    other += (2 * mlp + hidden) * bool(family.mlp_bias and config.get("mlp_bias"))
    layer = sum(i * o for i, o in linears.values()) + other
    tied = bool(config.get("tie_word_embeddings", family.tied))
    table = vocabulary * hidden
    parameters = layers * layer + hidden + table * (1 if tied else 2)
    adapter = 0
    if peft is not None:
        found = _adapter(peft, linears)
        if found is None:
            return None
        adapter = layers * found
    return ModelSize(
        parameters=parameters + adapter,
        trained=parameters if peft is None else adapter,
        layers=layers,
        hidden=hidden,
        mlp=mlp,
        keys=keys,
        vocabulary=vocabulary,
        attention=attention,
        heads=heads,
        matmul=layers * layer + hidden + table,
        tied=tied,
    )


def _linears(hidden: int, mlp: int, attention: int, keys: int) -> dict[str, tuple[int, int]]:
    """The matrices of a block: {name: (input, output width)}."""
    return {
        "q_proj": (hidden, attention),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (attention, hidden),
        "gate_proj": (hidden, mlp),
        "up_proj": (hidden, mlp),
        "down_proj": (mlp, hidden),
    }


def _adapter(peft: dict[str, Any], linears: Mapping[str, tuple[int, int]]) -> int | None:
    """LoRA parameters of a block: r x (input + output) a matrix; None where more is asked for."""
    targets = peft.get("target_modules")  # None: peft's own choice for the model type
    names = [*linears] if targets == "all-linear" else targets
    rank = peft.get("r", 8)
    if set(peft) - PEFT_KEYS or isinstance(names, str) or peft.get("bias", "none") != "none":
        return None
    if names is None or not set(names) <= set(linears) or type(rank) is not int:
        return None
    return sum(rank * sum(linears[name]) for name in names)

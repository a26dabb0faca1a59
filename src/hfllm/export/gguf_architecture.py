"""A transformers config -> the keys of a GGUF header, or why llama.cpp would compute another model.

Each key of a config that changes what the model computes is written, must have the one value that
llama.cpp's code for the architecture assumes, or is refused with its name. Llama 3's RoPE scaling
becomes a tensor of divisors (`rope_freqs.weight`); linear and YaRN stand in the header. The side
that reads is modeling/gguf_config.py and gguf_rope.py. Source: llama.cpp, conversion/llama.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp assumes of a model type of transformers."""

    name: str  # general.architecture
    permutes: bool = False  # pairs neighbouring dimensions in RoPE, transformers halves
    assumes: dict[str, Any] = field(default_factory=dict)  # config key -> its only value


_SILU = {"hidden_act": "silu"}
_LLAMA = Architecture("llama", True, _SILU | {"attention_bias": False, "mlp_bias": False})
ARCHITECTURES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Architecture("qwen2", assumes=_SILU),
    "qwen3": Architecture("qwen3", assumes=_SILU | {"attention_bias": False}),
}
# llama.cpp reads other betas for a few architectures only; a header that says them is passed over
YARN = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True}
SCALINGS = ("default", "linear", "llama3", "yarn")


def architecture_of(config: Any) -> Architecture:
    """The architecture of a config.

    Raises:
        ValueError: GGUF is not written here for it, or it computes what llama.cpp does not (one
            line, without the place).
    """
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise ValueError(
            f"GGUF is written for {', '.join(ARCHITECTURES)}, not for {kind}; take --to folder, "
            "and llama.cpp's convert_hf_to_gguf.py for that folder"
        )
    found = ARCHITECTURES[kind]
    if getattr(config, "quantization_config", None):
        raise ValueError("its weights are quantised; export the model that they were made of")
    for key, only in found.assumes.items():
        if (value := getattr(config, key, only)) != only:
            raise ValueError(f"its config says {key}: {value}, llama.cpp's {found.name} has {only}")
    scaling = rope_of(config)["rope_type"]
    if scaling not in SCALINGS:
        raise ValueError(
            f"its config scales RoPE by {scaling}, GGUF is written for {', '.join(SCALINGS)}; take "
            "--to folder"
        )
    return found


def rope_of(config: Any) -> dict[str, Any]:
    """The RoPE parameters, checked for keys that llama.cpp does not have."""
    rope = dict(config.rope_parameters)
    share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None)
    if share not in (None, 1.0):
        raise ValueError(f"its config rotates {share} of a head, llama.cpp's code all of it")
    if rope["rope_type"] == "yarn":
        for key in ("mscale", "mscale_all_dim"):
            if rope.get(key):
                raise ValueError(f"its config scales RoPE by yarn with {key}, which is not written")
        for key, only in YARN.items():
            if rope.get(key) not in (None, only):
                raise ValueError(
                    f"its config says {key}: {rope[key]} for yarn, and llama.cpp's code {only}"
                )
    return rope


def head_dim(config: Any) -> int:
    """The width of one head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def architecture_keys(config: Any, notes: list[str]) -> dict[str, Any]:
    """The keys below the architecture's name; what is lost is added to `notes`."""
    width = head_dim(config)
    return {
        "context_length": _context(config, notes),
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": width,
        "rope.freq_base": float(rope_of(config)["rope_theta"]),
        "vocab_size": config.vocab_size,
        **dict(_scaling(config)),
    }


def _context(config: Any, notes: list[str]) -> int:
    """Positions; no more than a window of attention, which llama.cpp's code does not have."""
    positions, window = config.max_position_embeddings, getattr(config, "sliding_window", None)
    if not window or window >= positions or getattr(config, "use_sliding_window", True) is False:
        return positions
    notes.append(
        f"the file's context is {window:,} of {positions:,} positions: its window of attention is "
        "not in llama.cpp's code, and up to there it makes no difference"
    )
    return window


def _scaling(config: Any) -> Iterator[tuple[str, Any]]:
    rope = rope_of(config)
    kind, key = rope["rope_type"], "rope.scaling."
    if kind not in ("linear", "yarn"):
        return
    yield key + "type", kind
    yield key + "factor", float(rope["factor"])
    if kind == "linear":
        return
    before = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    yield key + "original_context_length", int(before)
    if rope.get("attention_factor") is not None:  # llama.cpp multiplies its own on top
        yield (
            key + "attn_factor",
            float(rope["attention_factor"]) / (0.1 * math.log(float(rope["factor"])) + 1.0),
        )


def rope_factors(config: Any) -> np.ndarray | None:
    """Llama 3's divisors of the frequencies, (head_dim / 2,) float32; None without such scaling."""
    rope = rope_of(config)
    if rope["rope_type"] != "llama3":
        return None
    index = np.arange(0, head_dim(config), 2) / head_dim(config)
    wave = 2 * math.pi * float(rope["rope_theta"]) ** index
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    old = rope["original_max_position_embeddings"]
    slope = np.clip((old / wave - low) / (high - low), 0, 1)
    return (1 / ((1 - slope) / float(rope["factor"]) + slope)).astype(np.float32)

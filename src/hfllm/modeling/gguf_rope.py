"""RoPE scaling of a GGUF header and its tensors of factors -> a config's `rope_parameters`.

transformers reads neither. Linear and YaRN stand in the header, Llama 3's factors in a tensor, of
which the parameters are found again, Phi-3's for short and long contexts in two. Any other scaling
is refused with its key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
SCALE = "rope.scaling."
YARN = {"attn_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"}
NEUTRAL = {  # values that mean the same as an absent key; of others 0
    "attention.causal": True, "logit_scale": 1.0, "residual_scale": 1.0, "embedding_scale": 1.0,
    "expert_weights_scale": 1.0, "rope.scaling.yarn_ext_factor": 1.0,
}  # fmt: skip


def rope_of(config: Any) -> dict[str, Any]:
    """The RoPE parameters of full attention (Gemma 3 has others for its sliding windows)."""
    return config.rope_parameters.get("full_attention", config.rope_parameters)


def rope_scaling(
    config: Any, header: Mapping[str, Any], factors: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The keys of `rope_parameters` for the header's scaling and the tensors of factors."""
    said = {k.removeprefix(SCALE): v for k, v in header.items() if k.startswith(SCALE)}
    if "rope.scale_linear" in header:  # before 2023-10
        said.setdefault("type", "linear")
        said.setdefault("factor", header["rope.scale_linear"])
    known = {"rope.freq_base", "rope.dimension_count", "rope.scale_linear"}
    for key, value in header.items():
        if key.startswith("rope.") and key not in known and not key.startswith(SCALE):
            raise ValueError(refusal(key, value))
    kind = str(said.pop("type", "none" if "factor" not in said else "linear"))
    readers = {"none": _unscaled, "linear": _linear, "yarn": _yarn, "longrope": _longrope}
    if kind not in readers:
        raise ValueError(refusal(f"{SCALE}type", kind))
    if "rope_factors_long.weight" in factors:
        kind = "longrope"
    taken = {"finetuned", "factor", "original_context_length"} if kind != "none" else {"finetuned"}
    found = readers[kind](config, said, factors)
    taken |= {"yarn": YARN, "longrope": {"attn_factor"}}.get(kind, set())
    for key in said.keys() - taken:
        if not same(said[key], NEUTRAL.get(SCALE + key, 0)):
            raise ValueError(refusal(SCALE + key, said[key]))
    if found is not None and getattr(config, "rope_parameters", None) is None:
        raise ValueError(refusal(f"{SCALE}type", kind))
    return found


def _unscaled(config: Any, said: dict, factors: Mapping[str, Any]) -> dict[str, Any] | None:
    """No scaling in the header; Llama 3.1 to 3.3 have factors in a tensor."""
    if "rope_freqs.weight" not in factors:
        return None
    found = llama3_parameters(
        np.asarray(factors["rope_freqs.weight"], np.float64), rope_of(config)["rope_theta"]
    )
    if found is None:
        raise ValueError(
            "its tensor rope_freqs.weight scales RoPE in a way that is not Llama 3's: take its "
            "safetensors"
        )
    return found


def _linear(config: Any, said: dict, factors: Mapping[str, Any]) -> dict[str, Any] | None:
    factor = float(said.get("factor") or 1.0)
    return None if factor == 1.0 else {"rope_type": "linear", "factor": factor}


def _yarn(config: Any, said: dict, factors: Mapping[str, Any]) -> dict[str, Any]:
    """Peng et al. 2023, arXiv:2309.00071; llama.cpp multiplies its own attention factor on top."""
    factor = float(said.get("factor") or 1.0)
    before = said.get("original_context_length") or config.max_position_embeddings
    found = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": int(before)}
    for theirs, ours in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):
        if theirs in said:
            found[ours] = float(said[theirs])
    scale = float(said.get("attn_factor", said.get("yarn_attn_factor", 1.0)) or 1.0)
    if scale != 1.0:
        found["attention_factor"] = scale * (0.1 * math.log(factor) + 1.0)
    return found


def _longrope(config: Any, said: dict, factors: Mapping[str, Any]) -> dict[str, Any]:
    """Phi-3's long contexts (Ding et al. 2024, arXiv:2402.13753): factors for short and long."""
    names = {"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"}
    if missing := [name for name in names.values() if name not in factors]:
        raise ValueError(f"its header says longrope, but it has no tensor {missing[0]}")
    before = said.get("original_context_length")
    if not before:
        raise ValueError(refusal(f"{SCALE}original_context_length", before))
    found: dict[str, Any] = {ours: factors[theirs].tolist() for ours, theirs in names.items()}
    found |= {"rope_type": "longrope", "original_max_position_embeddings": int(before)}
    found["factor"] = config.max_position_embeddings / int(before)
    if said.get("attn_factor"):
        found["attention_factor"] = float(said["attn_factor"])
    if hasattr(config, "original_max_position_embeddings"):
        config.original_max_position_embeddings = int(before)
    return found


def llama3_parameters(factors: np.ndarray, theta: float) -> dict[str, Any] | None:
    """The `rope_parameters` whose factors these are, (head_dim / 2,); None if there are none.

    A file holds the divisors of the frequencies, the config what they are computed from: 1 for
    wavelengths below old / high, `factor` above old / low, and a line in old / wavelength between.
    low is 1 and high 4 in all published models. One divisor between gives the old context.
    """
    low, high, factor = 1.0, 4.0, float(factors.max())
    if np.allclose(factors, 1.0):
        return {}
    index = np.arange(len(factors))
    wave = 2 * math.pi * theta ** (index / len(factors))
    between = (factors > 1 + 1e-4) & (factors < factor * (1 - 1e-4))
    smooth = (1 / factors - 1 / factor) / (1 - 1 / factor)
    olds = wave[between] * (smooth[between] * (high - low) + low)
    if not len(olds):  # any context between the last 1 and the first `factor`, mostly a power of 2
        begin = wave[factors <= 1 + 1e-4].max(initial=0.0) * high
        powers = 2.0 ** np.arange(4, 24)
        olds = powers[(powers >= begin) & (powers <= wave[factors > 1 + 1e-4].min() * low)]
    if not len(olds):
        return None
    old = round(float(np.median(olds)))
    slope = np.clip((old / wave - low) / (high - low), 0, 1)
    expected = 1 / ((1 - slope) / factor + slope)
    if not np.allclose(expected, factors, rtol=1e-3):
        return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": old,
    }


def same(a: Any, b: Any) -> bool:
    """Whether two values of a header and a config are equal, in float32."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-6)
    return a == b


def refusal(key: str, value: Any) -> str:
    """Why a file is refused for a key of its header (follows the file's name)."""
    return (
        f"its header says {key}: {value!s:.60}, which its config in transformers cannot say: the "
        "model would be another; take its safetensors"
    )

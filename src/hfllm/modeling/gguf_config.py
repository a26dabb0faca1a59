"""Complete the config that transformers reads from a GGUF header, or refuse the file.

transformers reads a dozen keys of a header and passes over the others in silence: RoPE scaling,
soft caps, sizes of heads, windows, norms. So after its reading every key of the architecture is
compared with the config: equal, set here, without effect, or refused with its name. The tensors
that are no weights (RoPE factors) become `rope_parameters`; a weight that no parameter takes is
refused as well. Keys: github.com/ggml-org/ggml, docs/gguf; meaning: llama.cpp, src/llama-model.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfllm.modeling.gguf_rope import NEUTRAL, refusal, rope_of, rope_scaling, same

NORMS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps")
# header key -> attributes of configs that mean the same
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "vocab_size": ("vocab_size",),
    "context_length": ("max_position_embeddings", "n_positions"),
    "embedding_length": ("hidden_size",),
    "block_count": ("num_hidden_layers",),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "attention.layer_norm_rms_epsilon": NORMS,
    "attention.layer_norm_epsilon": NORMS,
    "attention.sliding_window": ("sliding_window",),
    "attention.clamp_kqv": ("clip_qkv",),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "logit_scale": ("logit_scale",),
    "embedding_scale": ("embedding_multiplier",),
    "residual_scale": ("residual_multiplier",),
    "attention.scale": ("attention_multiplier",),
    "use_parallel_residual": ("use_parallel_residual", "parallel_attn"),
    "expert_count": ("num_experts", "num_local_experts"),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
    "expert_weights_norm": ("norm_topk_prob",),
    "expert_weights_scale": ("routed_scaling_factor",),
    "shortconv.l_cache": ("conv_L_cache",),
    "ssm.conv_kernel": ("conv_kernel",),
    "ssm.state_size": ("state_size",),
    "ssm.time_step_rank": ("time_step_rank",),
    "ssm.inner_size": ("intermediate_size",),
}
OFF = ("attn_logit_softcapping", "final_logit_softcapping", "attention.clamp_kqv")  # 0: none
WITHOUT_EFFECT = ("tensor_data_layout", "rope.scaling.finetuned", "expert_gating_func")


def complete_config(config: Any, header: Mapping[str, Any], factors: Mapping[str, Any]) -> None:
    """Change a config that transformers read into that of the file's model.

    Args:
        config: of a language model.
        header: the architecture's keys, without its name in front.
        factors: the tensors of FACTORS that the file has, (head_dim / 2,) float32 each.

    Raises:
        ValueError: a key says what the config cannot; its name is in the message.
    """
    theta = header.get("rope.freq_base")
    if theta is not None and getattr(config, "rope_parameters", None):
        rope_of(config)["rope_theta"] = float(theta)
    for key, value in header.items():
        if not key.startswith("rope."):
            _check(config, key, value, header)
    _check_partial_rotation(config, header)
    if scaling := rope_scaling(config, header, factors):
        rope_of(config).update(scaling)
    _scale_of_largest_gemmas(config)
    _drop_ids_of_other_vocabularies(config)


def _drop_ids_of_other_vocabularies(config: Any) -> None:
    """Ids that the header does not name are defaults of the class: Phi-3's pad is 32000."""
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        token_id = getattr(config, key, None)
        if isinstance(token_id, int) and token_id >= config.vocab_size:
            setattr(config, key, None)


def _check(config: Any, key: str, value: Any, header: Mapping[str, Any]) -> None:
    """Make the config say what the header says under `key`; ValueError where it cannot."""
    if key in WITHOUT_EFFECT:
        return
    if key == "attention.sliding_window_pattern":
        return _check_pattern(config, value)
    if isinstance(value, list) and len(set(value)) > 1:
        if config.model_type == "lfm2" and key == "attention.head_count_kv":
            return  # transformers reads the kinds of layers from it
        raise ValueError(refusal(key, value))
    value = value[0] if isinstance(value, list) else value
    if key == "attention.sliding_window" and _window_is_idle(config, value, header):
        return
    names = [name for name in ATTRIBUTES.get(key, ()) if hasattr(config, name)]
    names.sort(key=lambda name: getattr(config, name) is None)  # those that it sets first
    if names and not same(getattr(config, names[0]), value):
        setattr(config, names[0], None if value == 0 and key in OFF else value)
    elif not names and not same(value, _default(config, key)):
        raise ValueError(refusal(key, value))


def _default(config: Any, key: str) -> Any:
    """The value that means the same as no key."""
    if key in ("attention.key_length", "attention.value_length"):
        return config.hidden_size // config.num_attention_heads
    return NEUTRAL.get(key, 0)


def _window_is_idle(config: Any, window: int, header: Mapping[str, Any]) -> bool:
    """Whether no layer's window is shorter than the context; ValueError if one is and cannot be."""
    if not window or window >= header.get("context_length", 0):
        return True
    if getattr(config, "use_sliding_window", True) is False:
        raise ValueError(refusal("attention.sliding_window", window))
    return False


def _check_pattern(config: Any, value: Any) -> None:
    """Compare which layers attend to a window: a list by layer, or every n-th layer to all."""
    layers = getattr(config, "layer_types", None) or []
    if not isinstance(value, list):
        value = [(i + 1) % value > 0 for i in range(len(layers))]
    if [bool(x) for x in value] != [layer == "sliding_attention" for layer in layers]:
        raise ValueError(refusal("attention.sliding_window_pattern", value))


def _check_partial_rotation(config: Any, header: Mapping[str, Any]) -> None:
    """Raise ValueError if another share of a head is rotated than the config says."""
    rotated = header.get("rope.dimension_count")
    if rotated is None or not getattr(config, "rope_parameters", None):
        return
    width = header.get("attention.key_length") or config.hidden_size // config.num_attention_heads
    if config.model_type in ("llama", "mistral"):  # transformers takes `rotated` for it
        config.head_dim = width
    share = rope_of(config).get("partial_rotary_factor")
    if share is None:
        share = getattr(config, "partial_rotary_factor", None) or 1.0
    if int(width * share) != rotated:
        raise ValueError(refusal("rope.dimension_count", rotated))


def _scale_of_largest_gemmas(config: Any) -> None:
    """Gemma 2 and 3 of 27B divide queries by another number; it is in no header (as llama.cpp)."""
    largest = {"gemma2": 46, "gemma3_text": 62}.get(config.model_type)
    if config.num_hidden_layers == largest:
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads


def unread_weights(model: Any, tensors: Mapping[str, int]) -> str | None:
    """What is wrong if a file has weights that no parameter takes, or too few, else None.

    Args:
        model: as transformers read it.
        tensors: number of elements of each weight of the file.
    """
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    state = {x.data_ptr(): x.numel() for x in model.state_dict().values()}  # tied ones once
    if sum(state.values()) == sum(tensors.values()):
        return None
    processor = TENSOR_PROCESSORS.get(model.config.model_type, TensorProcessor)
    known = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    odd = sorted(tensors.keys() - known.keys()) or sorted(known.keys() - tensors.keys())
    return (
        f"transformers takes {sum(state.values()):,} of its {sum(tensors.values()):,} "
        f"weights ({odd[0] if odd else 'sizes differ'} first): the model would be another; take "
        "its safetensors"
    )

"""Every causal model type of transformers, built with two small layers.

`tiny_causal("mamba")` overrides the usual size keys of the type's config, and of the configs in it;
`MORE` holds what a type needs beside them. `NOT_SMALL` names the types that cannot be built so, and
why: a test asserts that they cannot, so the list does not grow silently.
"""

import inspect
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

VOCABULARY = 64
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "d_model": 32, "n_embd": 32,
    "num_hidden_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2, "decoder_layers": 2,
    "encoder_layers": 2, "num_attention_heads": 4, "num_heads": 4, "n_head": 4, "n_heads": 4,
    "attention_heads": 4, "decoder_attention_heads": 4, "encoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64, "ffn_dim": 64, "dff": 64,
    "decoder_ffn_dim": 64, "encoder_ffn_dim": 64, "word_embed_proj_dim": 32,
    "max_position_embeddings": 64, "n_positions": 64, "max_seq_len": 64,
    "num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16,
    "n_routed_experts": 4, "n_shared_experts": 1, "shared_expert_intermediate_size": 16,
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "state_size": 8, "mamba_d_state": 8, "mamba_n_groups": 1,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "is_decoder": True,
}  # fmt: skip
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_chunk_size": 16}
_EVERY_HEAD = {"num_key_value_heads": 4}  # as many as heads: multi-head latent attention
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
    "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite",
         "glm_moe_dsa", "minicpm3", "sarvam_mla", "youtu", "dots3_note_text"),
        _EVERY_HEAD,
    ),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid"), _LINEAR),
    **dict.fromkeys(("codegen", "gptj"), {"rotary_dim": 4}),
    **dict.fromkeys(
        ("gemma2", "gemma3_text", "mistral", "exaone4", "olmo3"), {"sliding_window": 8}
    ),
    "axk1": {**_EVERY_HEAD, "n_group": 1, "topk_group": 1},
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "cohere_compass_text": {"rope_parameters": dict.fromkeys(
        ("sliding_attention", "full_attention"), {"rope_type": "default", "rope_theta": 1e4}
    )},
    "falcon_h1": {**_MAMBA, "mamba_n_heads": 4, "mamba_d_ssm": 32},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8,
        "laurel_rank": 8, "activation_sparsity_pattern": [0.0, 0.0],
    },
    "gemma4_text": {
        "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8,
        "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {**_MAMBA, "layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "kimi_linear": {**_EVERY_HEAD, "linear_head_dim": 8, "linear_num_heads": 4,
                    "layer_types": ["linear_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {**_EVERY_HEAD, "ffn_hidden_size": 64, "expert_ffn_hidden_size": 16,
                      "zero_expert_num": 2, "moe_topk": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "minimax": {"layer_types": ["linear_attention", "full_attention"], "block_size": 16},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"], "mamba_num_heads": 4,
                   "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "num_key_value_heads": 1,
                        "attention_window_size": 16},
    "reformer": {"axial_pos_embds": False, "attn_layers": ["local", "local"],
                 "attention_head_size": 8, "feed_forward_size": 64, "local_attn_chunk_length": 4},
    "roc_bert": {"shape_vocab_size": 64, "pronunciation_vocab_size": 64, "shape_embed_dim": 32,
                 "pronunciation_embed_dim": 32},
    "xlm": {"emb_dim": 32, "causal": True},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False,
              "layers_block_type": ["hybrid", "mamba"], **_EVERY_HEAD},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "mamba_ngroups": 1, "n_mamba_heads": 4,
               "chunk_size": 16, **_EVERY_HEAD},
}  # fmt: skip
_IMAGES = "its parts for images or sound keep their size"
NOT_SMALL: dict[str, str] = {
    "blt": "a hash table of three million rows",
    "dbrx": "its attention config lacks the rope_theta that the model reads",
    "dots3_note": "its config names layers 25 and later",
    "fuyu": _IMAGES,
    "gemma3": _IMAGES,
    "gemma3n": "needs timm and pillow",
    "gemma4_assistant": "a draft model for another model's hidden states",
    "gemma4_unified": _IMAGES,
    "gemma4_unified_assistant": "a draft model for another model's hidden states",
    "got_ocr2": _IMAGES,
    "moss_transcribe_diarize": _IMAGES,
    "musicgen": "its config, of three models, has no sizes of its own",
    "musicgen_melody": "its config, of three models, has no sizes of its own",
    "zamba": "its tied layers cannot be fewer than in the published model",
}
NOT_CAUSAL = ("cpmant", "prophetnet", "xlnet")  # their tokens see those that follow
MOST_PARAMETERS = 10_000_000


def tiny_config(model_type: str, config_class: Any = None) -> Any:
    """The type's config with the usual size keys overridden, and those of the configs in it."""
    config_class = config_class or CONFIG_MAPPING[model_type]
    known = inspect.signature(config_class.__init__).parameters
    values = {key: value for key, value in SIZES.items() if key in known}
    for name, inner in getattr(config_class, "sub_configs", {}).items():
        if name in known and inner.__name__ != "AutoConfig":
            values[name] = tiny_config(inner.model_type, inner)
    return config_class(**values | MORE.get(model_type, {}))


def is_small(model_type: str) -> bool:
    """Whether the tiny config gives a model of at most MOST_PARAMETERS."""
    try:
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(tiny_config(model_type))
    except Exception:
        return False
    return sum(p.numel() for p in made.parameters()) <= MOST_PARAMETERS


def with_visible_weights(model: Any, std: float = 0.3) -> Any:
    """The model in eval mode, with weights large enough to see the effect of each part."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() >= 2 and parameter.requires_grad:  # no table of sines
            torch.nn.init.normal_(parameter, std=std)
    return model.eval()


def tiny_causal(model_type: str, std: float = 0.3) -> Any:
    """A causal LM of the type in float32 and eval mode, with weights whose effects can be seen."""
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(tiny_config(model_type), dtype=torch.float32)
    return with_visible_weights(made, std)

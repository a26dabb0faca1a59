"""A causal LM from a transformers configuration, sized to its tokenizer.

The recipe's `model:` section holds any transformers config by its own names. transformers takes a
misspelt key without a word and ignores it; here it is refused. Vocabulary and special ids come
from the tokenizer, positions from seq_len unless the recipe sets them.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING


def build_config(model: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seq_len: int) -> Any:
    """The config object. Raises ValueError for an unknown type or key, or clashing sizes."""
    values = dict(model)
    model_type = values.pop("model_type", None)
    if model_type is None:
        raise ValueError("model.model_type must be set, for example `model_type: llama`")
    if model_type not in CONFIG_MAPPING:
        near = difflib.get_close_matches(model_type, list(CONFIG_MAPPING.keys()), n=1)
        hint = f" Did you mean: '{near[0]}'?" if near else ""
        raise ValueError(f"model.model_type: transformers has no '{model_type}'.{hint}")
    known = set(inspect.signature(CONFIG_MAPPING[model_type].__init__).parameters)
    known |= {"attn_implementation"}
    for key in values:
        if key not in known and key not in CONFIG_MAPPING[model_type].attribute_map:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean: '{near[0]}'?" if near else ""
            raise ValueError(f"model.{key}: no key of a {model_type} config.{hint}")
    vocab = values.setdefault("vocab_size", len(tokenizer))
    if vocab < len(tokenizer):
        raise ValueError(
            f"model.vocab_size: {vocab} is smaller than the tokenizer's {len(tokenizer)} tokens"
        )
    if "max_position_embeddings" in known:
        positions = values.setdefault("max_position_embeddings", seq_len)
        if positions < seq_len:
            raise ValueError(
                f"data.seq_len: {seq_len} is beyond model.max_position_embeddings {positions}"
            )
    values |= {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return AutoConfig.for_model(model_type, **values)


def build_model(
    model: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seq_len: int, seed: int
) -> PreTrainedModel:
    """A freshly initialised model in float32; the same seed gives the same weights."""
    config = build_config(model, tokenizer, seq_len)
    torch.manual_seed(seed)
    try:
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"model: transformers cannot build it: {reason}") from error

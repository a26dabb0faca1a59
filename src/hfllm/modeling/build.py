"""A causal LM from a transformers configuration, sized to its tokenizer.

The recipe's `model:` section holds any transformers config by its own names. transformers takes a
misspelt key without a word and ignores it; here it is refused, before anything runs. Vocabulary and
special ids come from the tokenizer, positions from seq_len unless the recipe sets them.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hfllm.modeling.eval_mode import eval_mode
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import first_line

POSITIONS = "max_position_embeddings"
# What older configurations hold, or what would be overwritten here without a word.
INSTEAD = {
    "rope_theta": "write `rope_parameters: {rope_type: default, rope_theta: VALUE}`",
    "rope_scaling": "write `rope_parameters`",
    "torch_dtype": "weights are made in float32; set trainer.bf16 for the precision",
    "dtype": "weights are made in float32; set trainer.bf16 for the precision",
    "bos_token_id": "it comes from the tokenizer; leave it out",
    "eos_token_id": "it comes from the tokenizer; leave it out",
    "pad_token_id": "it comes from the tokenizer; leave it out",
}


def build_config(model: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seq_len: int) -> Any:
    """The config object. Raises ValueError for an unknown type or key, or clashing sizes."""
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in _SPECIAL}
    return make_config(model, seq_len, len(tokenizer), **ids)


_SPECIAL = ("bos", "eos", "pad")


def make_config(
    model: dict[str, Any], seq_len: int, vocab_size: int | None = None, **ids: int | None
) -> Any:
    """As `build_config`, for checks before there is a tokenizer."""
    values = dict(model)
    model_type = _known_type(values.pop("model_type", None))
    known = set(inspect.signature(CONFIG_MAPPING[model_type].__init__).parameters)
    names = CONFIG_MAPPING[model_type].attribute_map  # {usual name: this model's own}
    known = (known | {"attn_implementation"} | set(names)) - {"self", "kwargs"}
    for key in values:
        _check_key(key, model_type, known)
    values = {names.get(key, key): value for key, value in values.items()}
    _check_vocabulary(values, vocab_size)
    if POSITIONS in known:
        values.setdefault(names.get(POSITIONS, POSITIONS), seq_len)
    try:
        config = AutoConfig.for_model(model_type, **values, **ids)
    except Exception as error:  # StrictDataclass errors are no ValueErrors, and there are others
        raise ValueError(
            f"model: no {model_type} config: {' '.join(str(error).split())}"
        ) from error
    check_positions(config, seq_len, POSITIONS)
    return config


def check_positions(config: Any, seq_len: int, where: str) -> None:
    """Raise ValueError where rows of seq_len are longer than the model's positions."""
    positions = getattr(config.get_text_config(), POSITIONS, None)
    if isinstance(positions, int) and 0 < positions < seq_len:
        raise ValueError(
            f"data.seq_len: {seq_len} is beyond the {positions} positions of the model ({where}); "
            f"set data.seq_len to {positions} or less, or give the model more positions"
        )


def _known_type(model_type: Any) -> str:
    if model_type is None:
        raise ValueError("model.model_type must be set, for example `model_type: llama`")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        hint = did_you_mean(str(model_type), CONFIG_MAPPING.keys())
        raise ValueError(f"model.model_type: transformers has no '{model_type}'.{hint}")
    return model_type


def _check_key(key: str, model_type: str, known: set[str]) -> None:
    if key in INSTEAD:
        raise ValueError(f"model.{key}: {INSTEAD[key]}")
    if key not in known:
        hint = did_you_mean(key, known)
        raise ValueError(f"model.{key}: no key of a {model_type} config.{hint}")


def _check_vocabulary(values: dict[str, Any], vocab_size: int | None) -> None:
    """Fill in the tokenizer's size, or refuse a smaller one."""
    if vocab_size is None:
        return
    given = values.setdefault("vocab_size", vocab_size)
    if isinstance(given, int) and given < vocab_size:
        raise ValueError(
            f"model.vocab_size: {given} is smaller than the tokenizer's {vocab_size} tokens; "
            "leave it out to have it match"
        )


def build_model(
    model: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seq_len: int, seed: int
) -> PreTrainedModel:
    """A freshly initialised model in float32; the same seed gives the same weights."""
    config = build_config(model, tokenizer, seq_len)
    torch.manual_seed(seed)
    try:
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (ValueError, RuntimeError, KeyError) as error:
        reason = first_line(error)
        raise ValueError(f"model: transformers cannot build it: {reason}") from error
    if _sees_what_follows(made):
        remedy = "set model.is_decoder=true" if hasattr(config, "is_decoder") else "choose another"
        raise ValueError(
            f"model.model_type: {config.model_type} sees the tokens that follow, so it would learn "
            f"to copy them: {remedy}"
        )
    return made


def _sees_what_follows(model: PreTrainedModel) -> bool:
    """Whether the logits of a token change with a later one (BERT's do, and only warn of it)."""
    if any(p.numel() == 0 for p in model.parameters()):  # parts of it stand elsewhere (ZeRO-3)
        return False
    with eval_mode(model):
        rows = [torch.tensor([[1, 2, last]]) for last in (3, 4)]
        one, other = (model(input_ids=ids).logits[0, :2] for ids in rows)
    return not torch.allclose(one, other, atol=1e-4)

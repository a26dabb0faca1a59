"""Build a causal LM from a transformers config, with the tokenizer's vocabulary.

The recipe's `model:` section holds any transformers config under its own keys. transformers ignores
a misspelt key silently; here it is an error, raised before anything runs. Vocabulary size and
special token ids come from the tokenizer; max_position_embeddings is seq_len unless the recipe sets
it. A model whose logits depend on later tokens (BERT without is_decoder) is refused.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hfllm.modeling.model_values import heads_problem, number_problems, refusal
from hfllm.modeling.trial import try_model
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.errors import raise_out_of_memory

CANNOT_BUILD = "transformers cannot build it"
POSITIONS = "max_position_embeddings"
# Keys of older configs, and keys that would be overwritten here: what to write instead.
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
    """The transformers config of a recipe's `model:` section.

    Args:
        model: the section, with `model_type` and any keys of that type's config.
        tokenizer: gives vocabulary size and special token ids.
        seq_len: tokens of a training row.

    Raises:
        ValueError: unknown model type or key, or sizes that contradict each other (one line).
    """
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in _SPECIAL}
    return make_config(model, seq_len, len(tokenizer), **ids)


_SPECIAL = ("bos", "eos", "pad")


def make_config(
    model: dict[str, Any], seq_len: int, vocab_size: int | None = None, **ids: int | None
) -> Any:
    """As `build_config`, for checks before there is a tokenizer.

    Args:
        model: the recipe's section.
        seq_len: tokens of a training row.
        vocab_size: of the tokenizer; None skips that check.
        ids: bos_token_id, eos_token_id, pad_token_id.

    Raises:
        ValueError: as `build_config`.
    """
    values = dict(model)
    model_type = _known_type(values.pop("model_type", None))
    known = set(inspect.signature(CONFIG_MAPPING[model_type].__init__).parameters)
    names = CONFIG_MAPPING[model_type].attribute_map  # {common name: this model type's own}
    known = (known | {"attn_implementation"} | set(names)) - {"self", "kwargs"}
    for key in values:
        _check_key(key, model_type, known)
    for problem in number_problems(values):
        raise ValueError(problem)
    values = {names.get(key, key): value for key, value in values.items()}
    _check_vocabulary(values, vocab_size)
    if POSITIONS in known:
        values.setdefault(names.get(POSITIONS, POSITIONS), seq_len)
    try:
        config = AutoConfig.for_model(model_type, **values, **ids)
    except Exception as error:  # StrictDataclass errors, which are no ValueErrors, and others
        raise refusal(f"no {model_type} config", error, model) from error
    if uneven := heads_problem(config):
        raise ValueError(uneven)
    check_positions(config, seq_len, POSITIONS)
    return config


def check_build(config: Any, values: dict[str, Any]) -> None:
    """Build the model of a config without memory, for the checks before a run.

    Args:
        config: of `make_config`.
        values: the recipe's section.

    Raises:
        ValueError: transformers refuses the values. What the meta device alone cannot do is left to
            `build_model`.
    """
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(copy.deepcopy(config))
    except (ValueError, KeyError, ZeroDivisionError) as error:
        raise refusal(CANNOT_BUILD, error, values) from error
    except Exception:
        return


def check_positions(config: Any, seq_len: int, where: str) -> None:
    """Check that rows of seq_len tokens fit into the model's positions.

    Args:
        config: a transformers config; one without a fixed number of positions passes.
        seq_len: tokens of a training row.
        where: which file or key sets the positions, for the message.

    Raises:
        ValueError: seq_len is larger than the model's positions.
    """
    positions = getattr(config.get_text_config(), POSITIONS, None)
    if isinstance(positions, int) and 0 < positions < seq_len:
        raise ValueError(
            f"data.seq_len: {seq_len} is beyond the {positions} positions of the model ({where}); "
            f"set data.seq_len to {positions} or less, or give the model more positions"
        )


def _known_type(model_type: Any) -> str:
    if model_type is None:
        raise ValueError("model.model_type: must be set, for example `model_type: llama`")
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
    """Set the tokenizer's size where none is given; ValueError for a smaller one."""
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
    """A newly initialised model in float32; the same seed gives the same weights.

    Args:
        model: the recipe's `model:` section.
        tokenizer: gives vocabulary size and special token ids.
        seq_len: tokens of a training row.
        seed: of torch's global generator, which is set here.

    Raises:
        ValueError: as `build_config`; transformers cannot build the model; or it is not causal.
    """
    config = build_config(model, tokenizer, seq_len)
    torch.manual_seed(seed)
    try:
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (ValueError, RuntimeError, KeyError, ZeroDivisionError) as error:
        raise_out_of_memory(error)
        raise refusal(CANNOT_BUILD, error, model) from error
    try_model(made, "model.model_type", seq_len, len(tokenizer))
    return made

"""Load the tokenizer and the model that a training step starts from, and check that they match.

A model's folder holds its tokenizer and chat template, so `init` gives both. If the recipe names
another `tokenizer:`, it must be the one that the model was trained with; another one is refused
with both fingerprints. A downloaded model's tokenizer is adapted first (adapt_tokenizer.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from hfllm.modeling.adapters import adapted_head
from hfllm.modeling.build import check_positions
from hfllm.modeling.gguf_imports import as_folder
from hfllm.modeling.load_report import left_out, reward_model_problem, without_load_report
from hfllm.modeling.trial import try_model
from hfllm.recipe.errors import first_line, reading
from hfllm.recipe.trainers import peft_problem
from hfllm.runs.fingerprint import file_digest
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_main_process
from hfllm.tokenization.compare import difference
from hfllm.training.adapt_tokenizer import (
    adapt_tokenizer,
    new_ids,
    new_token_lora_config,
    resize_embeddings,
)


def load_tokenizer(step: Step, notes: list[str]) -> Any:
    """Load the tokenizer of `tokenizer:`, else of `init:`, else of the step `tokenizer`.

    Changes to it are printed and added to `notes` (the manifest's). Raises ValueError if it cannot
    be read, or is not the one of `init`.
    """
    config = step.spec.config
    reference = config.tokenizer or config.init or "tokenizer"
    folder = _tokenizer_folder(step, reference)
    if config.tokenizer and config.init:
        _check_same_tokenizer(folder, _tokenizer_folder(step, config.init), step)
    tokenizer = _read_tokenizer(folder, step)
    changes = adapt_tokenizer(tokenizer, getattr(config, "chat_template", None))
    if is_main_process():
        print("".join(f"{step.name}: {change}\n" for change in changes), end="", flush=True)
    notes += changes
    return tokenizer


def _tokenizer_folder(step: Step, reference: str) -> str:
    if reference in step.recipe.steps:
        return str(step.other(reference).tokenizer)
    return as_folder(reference)


def model_folder(step: Step, reference: str) -> str:
    """The folder or hub id of a model reference; a .gguf file is converted first, once."""
    return as_folder(step.model_of(reference))


def _read_tokenizer(folder: str, step: Step) -> Any:
    """The tokenizer of a folder or hub id; ValueError if it cannot be read."""
    with reading(f"{step.name}: no tokenizer to read in {folder}"):
        return AutoTokenizer.from_pretrained(folder)


def _check_same_tokenizer(chosen: str, of_model: str, step: Step) -> None:
    """Raise ValueError if `chosen` is another tokenizer than `of_model` (folders or hub ids).

    By the bytes of tokenizer.json where both have it, else as loaded.
    """
    paths = [Path(folder) / "tokenizer.json" for folder in (chosen, of_model)]
    if chosen == of_model:
        return
    if all(p.is_file() for p in paths):
        ours, theirs = (f" ({file_digest(p)})" for p in paths)
        found = None if ours == theirs else ""
    else:
        ours = theirs = ""
        loaded = [_read_tokenizer(folder, step) for folder in (chosen, of_model)]
        found = difference(*loaded)
    if found is not None:
        raise ValueError(
            f"{step.name}.tokenizer: {chosen}{ours} is not the tokenizer that the model of `init` "
            f"was trained with ({of_model}{theirs.replace(' (', ', ').rstrip(')')})"
            + (f": {found}" if found else "")
            + "; leave `tokenizer:` out"
        )


def load_init(step: Step, auto_class: Any, tokenizer: Any, **kwargs: Any) -> PreTrainedModel:
    """Load the model of `init:` in float32, and add embeddings for new tokens.

    Args:
        step: its config names the model.
        auto_class: of transformers: AutoModelForCausalLM, ...
        tokenizer: of `load_tokenizer`.
        kwargs: for from_pretrained.

    Raises:
        ValueError: the model cannot be read, lacks weights, has fewer embeddings than the tokenizer
            has tokens, or fewer positions than a row of the step.
    """
    reference = model_folder(step, step.spec.config.init)
    if attention := step.spec.config.attn_implementation:
        kwargs["attn_implementation"] = attention
    writes = auto_class is AutoModelForCausalLM
    if writes and (problem := reward_model_problem(reference)):
        raise ValueError(f"{step.name}.init: {problem}")
    torch.manual_seed(step.seed)  # for the weights of a new head and of adapters
    try:
        with without_load_report():
            model, found = auto_class.from_pretrained(
                reference, dtype=torch.float32, output_loading_info=True, **kwargs
            )
    except ImportError as error:  # the package of flash attention, or one of the model's own code
        key = "attn_implementation" if attention else "init"
        raise ValueError(f"{step.name}.{key}: {first_line(error)}") from error
    except Exception as error:
        if not isinstance(error, RuntimeError) or "mismatch" not in str(error):
            with reading(f"{step.name}.init: no model to read in {reference}"):
                raise
        raise ValueError(
            f"{step.name}.init: the weights in {reference} have other shapes than a "
            f"{auto_class.__name__} of its config ({first_line(error)}): it is another kind of "
            "model; choose another"
        ) from error
    kind = type(model).__name__
    if writes and is_main_process() and (line := left_out(found["unexpected_keys"], kind)):
        print(f"{step.name}: {reference}: {line}", flush=True)
    _check_complete(step, reference, kind, found["missing_keys"])
    if seq_len := getattr(step.spec.config.data, "seq_len", 0):
        try:
            check_positions(model.config, seq_len, reference)
        except ValueError as error:
            raise ValueError(f"{step.name}.{error}") from None
    if ids := _added_token_ids(step, tokenizer):
        resize_embeddings(model, ids)
    rows = model.get_input_embeddings().weight.shape[0]
    if rows and rows < len(tokenizer):  # 0 under ZeRO-3, which partitions them over ranks
        raise ValueError(
            f"{step.name}: the tokenizer has {len(tokenizer)} tokens, the model of `init` "
            f"({reference}) {rows}: it is another model's tokenizer; leave `tokenizer:` out"
        )
    if is_main_process():  # others may lack weights: FSDP
        try_model(model, f"{step.name}.init", seq_len, len(tokenizer), auto_class)
    return model


def _check_complete(step: Step, reference: str, kind: str, missing: Iterable[str]) -> None:
    """ValueError for missing weights but a score head's: transformers makes them at random."""
    lacking = sorted(key for key in missing if not key.startswith("score."))
    if lacking:
        raise ValueError(
            f"{step.name}.init: {reference} lacks {len(lacking)} weights of a {kind}, first "
            f"{lacking[0]}: it is another kind of model, or cut off; choose another, or fetch it "
            "again"
        )


def _added_token_ids(step: Step, tokenizer: Any) -> list[int]:
    """Ids of the tokens that the tokenizer of `init` does not have."""
    config = step.spec.config
    is_ours = config.init in step.recipe.steps and not getattr(config, "chat_template", None)
    if is_ours:
        return []
    original = AutoTokenizer.from_pretrained(_tokenizer_folder(step, config.init))
    try:
        return new_ids(tokenizer, original)
    except ValueError as error:
        raise ValueError(f"{step.name}: the tokenizer does not fit `init`: {error}") from None


def refuse_new_tokens(step: Step, tokenizer: Any) -> None:
    """Raise ValueError if tokens were added: a frozen reference read from `init` lacks them."""
    if ids := _added_token_ids(step, tokenizer):
        names = ", ".join(map(str, tokenizer.convert_ids_to_tokens(ids)))
        raise ValueError(
            f"{step.name}.init: {step.spec.config.init} needs tokens added ({names}), which the "
            "reference model needs too; make an sft step first and start from that"
        )


def peft_config(step: Step, task_type: str, model: PreTrainedModel, tokenizer: Any) -> Any:
    """The peft.LoraConfig of the recipe's `peft:`, or None; it also trains added tokens.

    Args:
        step: its config has the keys.
        task_type: peft's: "CAUSAL_LM", "SEQ_CLS".
        model: the one that gets the adapter.
        tokenizer: of `load_tokenizer`.

    Raises:
        ValueError: an unknown key; a low-rank adapter on a language model's head; or tokens were
            added and the head has a bias.
    """
    values = step.spec.config.peft
    if values is None:
        return None
    from peft import LoraConfig

    if problem := peft_problem(step.spec):
        raise ValueError(problem)
    try:
        added = new_token_lora_config(
            model, _added_token_ids(step, tokenizer), values.get("modules_to_save") or []
        )
    except ValueError as error:
        raise ValueError(f"{step.name}.peft: {error}") from None
    config = LoraConfig(**{"task_type": task_type, **added, **values})
    if head := adapted_head(model, config):
        raise ValueError(
            f"{step.name}.peft.target_modules: trl multiplies with the weights of the head ({head})"
            " itself, so a low-rank adapter on it would not be trained; leave it out, or train it "
            f"whole with modules_to_save: [{head}]"
        )
    return config


def end_ids(tokenizer: Any, chat: bool) -> list[int]:
    """Ids that stop generation: the end of a turn (`chat`) or of a document, and eos."""
    from hfllm.tokenization.render import eot_token_id
    from hfllm.tokenization.separators import separators

    ends = [eot_token_id(tokenizer)] if chat else list(separators(tokenizer).after)
    return [i for i in dict.fromkeys([*ends, tokenizer.eos_token_id]) if i is not None]

"""What a training step starts from: its tokenizer and its model, checked against their makers.

A model step's folder carries its tokenizer and template, so `init` brings both. Where the recipe
names another `tokenizer:`, its vocabulary must be the model's: another tokenizer under a trained
model is refused with both fingerprints. Somebody else's is adapted first (adapt_tokenizer.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from hfllm.modeling.build import check_positions
from hfllm.modeling.gguf import as_folder
from hfllm.recipe.errors import first_line
from hfllm.recipe.trainers import peft_problem
from hfllm.runs.fingerprint import file_digest
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_main_process
from hfllm.runs.status import mismatch
from hfllm.training.adapt_tokenizer import (
    adapt_tokenizer,
    new_ids,
    resize_embeddings,
    trained_with_adapter,
)

ARTIFACTS = {"tokenizer": "tokenizer.json", "chat_template": "chat_template.jinja"}


def load_tokenizer(step: Step, notes: list[str]) -> Any:
    """The tokenizer of `tokenizer:`, else of `init:`, else of the step `tokenizer`.

    What had to be changed in it is said, and added to `notes` (the manifest's).
    """
    config = step.spec.config
    reference = config.tokenizer or config.init or "tokenizer"
    folder = _tokenizer_folder(step, reference)
    if config.tokenizer and config.init:
        _refuse_other(folder, _tokenizer_folder(step, config.init), step)
    if reference in step.recipe.steps and (Path(folder) / "tokenizer.json").is_file():
        for kind, name in ARTIFACTS.items():
            path = Path(folder) / name
            problem = path.is_file() and mismatch(step, reference, kind, file_digest(path))
            if problem:
                raise ValueError(problem)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        reason = first_line(error)
        raise ValueError(f"{step.name}: no tokenizer to read in {folder}: {reason}") from error
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
    """A model reference as a folder or hub id; a .gguf file is imported first, once."""
    return as_folder(step.model_of(reference))


def _refuse_other(chosen: str, of_model: str, step: Step) -> None:
    paths = [Path(folder) / "tokenizer.json" for folder in (chosen, of_model)]
    if all(p.is_file() for p in paths):
        ours, theirs = (file_digest(p) for p in paths)
        if ours != theirs:
            raise ValueError(
                f"{step.name}.tokenizer: {chosen} ({ours}) is not the tokenizer that the model of "
                f"`init` was trained with ({of_model}, {theirs}); leave `tokenizer:` out"
            )


def load_init(step: Step, auto_class: Any, tokenizer: Any, **kwargs: Any) -> PreTrainedModel:
    """The model of `init:` in float32, with a vocabulary that holds the tokenizer's.

    Raises ValueError where it cannot be read, lacks weights, is smaller than the tokenizer, or has
    fewer positions than the step's rows.
    """
    reference = model_folder(step, step.spec.config.init)
    if attention := step.spec.config.attn_implementation:
        kwargs["attn_implementation"] = attention
    torch.manual_seed(step.seed)  # a new head and adapters are drawn from the recipe's seed
    try:
        with _without_load_report():
            model, found = auto_class.from_pretrained(
                reference, dtype=torch.float32, output_loading_info=True, **kwargs
            )
    except ImportError as error:  # flash attention's package, or what the model's own code needs
        key = "attn_implementation" if attention else "init"
        raise ValueError(f"{step.name}.{key}: {first_line(error)}") from error
    except (OSError, ValueError, SafetensorError) as error:
        reason = first_line(error)
        raise ValueError(f"{step.name}.init: no model to read in {reference}: {reason}") from error
    except RuntimeError as error:
        if "mismatch" not in str(error):
            raise  # no memory, say
        raise ValueError(
            f"{step.name}.init: the weights in {reference} have other shapes than the model that "
            f"is made of them ({first_line(error)}): it is another kind of model"
        ) from error
    lacking = sorted(key for key in found["missing_keys"] if not key.startswith("score."))
    if lacking:  # the library makes them anew from noise, with a warning
        raise ValueError(
            f"{step.name}.init: {reference} lacks {len(lacking)} weights of a "
            f"{type(model).__name__}, first {lacking[0]}: it is another kind of model, or cut off"
        )
    if seq_len := getattr(step.spec.config.data, "seq_len", None):
        try:
            check_positions(model.config, seq_len, reference)
        except ValueError as error:
            raise ValueError(f"{step.name}.{error}") from None
    if ids := _added(step, tokenizer):
        resize_embeddings(model, ids)
    rows = model.get_input_embeddings().weight.shape[0]
    if rows and rows < len(tokenizer):  # 0 under ZeRO-3, where the rows are spread over ranks
        raise ValueError(
            f"{step.name}: the tokenizer has {len(tokenizer)} tokens, the model of `init` "
            f"({reference}) {rows}: this is another model's tokenizer"
        )
    return model


def _added(step: Step, tokenizer: Any) -> list[int]:
    """Ids of the tokens that the model of `init` has never seen."""
    config = step.spec.config
    is_ours = config.init in step.recipe.steps and not getattr(config, "chat_template", None)
    if is_ours:
        return []
    return new_ids(tokenizer, AutoTokenizer.from_pretrained(_tokenizer_folder(step, config.init)))


def refuse_new_tokens(step: Step, tokenizer: Any) -> None:
    """For steps whose frozen reference is read from `init` as it stands."""
    if ids := _added(step, tokenizer):
        names = ", ".join(map(str, tokenizer.convert_ids_to_tokens(ids)))
        raise ValueError(
            f"{step.name}.init: {step.spec.config.init} needs tokens added ({names}), and the "
            "reference model has to know them too: make an sft step first and start from that"
        )


@contextmanager
def _without_load_report() -> Iterator[None]:
    """The library's table of missing weights: they are refused here, but for a new score head."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def peft_config(step: Step, task_type: str, model: PreTrainedModel, tokenizer: Any) -> Any:
    """peft.LoraConfig from the recipe's `peft:`, or None. Raises ValueError on an unknown key.

    Tokens that were added to the vocabulary are trained beside the adapter.
    """
    values = step.spec.config.peft
    if values is None:
        return None
    from peft import LoraConfig

    if problem := peft_problem(step.spec):
        raise ValueError(problem)
    try:
        added = trained_with_adapter(
            model, _added(step, tokenizer), values.get("modules_to_save") or []
        )
    except ValueError as error:
        raise ValueError(f"{step.name}.peft: {error}") from None
    return LoraConfig(**{"task_type": task_type, **added, **values})


def end_ids(tokenizer: Any, chat: bool) -> list[int]:
    """The tokens that end generation: the end of turn for a chat model, and the tokenizer's eos."""
    from hfllm.tokenization.loss_mask import eot_token_id

    ids = [eot_token_id(tokenizer)] if chat else []
    return list(dict.fromkeys([*ids, tokenizer.eos_token_id]))

"""The transformers config of the model that a step starts from, and that model without its weights.

Both are known before anything runs: a step that starts from another step's model has the config
that the first of them is built from, and a model on torch's meta device has its shapes and no
memory. The checks before a run and the choice of the batch read them. Cost: 0.1 s for a config, 0.1
to 1 s for a model.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from hfllm.modeling.build import make_config
from hfllm.modeling.gguf_imports import MANIFEST, imported_folder
from hfllm.recipe.config import TrainConfig
from hfllm.recipe.errors import first_line, reading
from hfllm.recipe.graph import first_ancestor
from hfllm.recipe.model_names import is_gguf
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import TOKENIZER


def start_config(recipe: Recipe, spec: StepSpec, fetch: bool = False) -> Any:
    """The config of the model that a step starts from, or None where it is not on this disk.

    Args:
        recipe: gives the tokenizer's size, where a step makes the tokenizer.
        spec: of the step; the model is that of its `first_ancestor`.
        fetch: a hub id's config may be downloaded; else it is read from the cache, if it is there.

    Raises:
        ValueError: the section `model:` is wrong, or the folder holds no config (one line).
    """
    root = first_ancestor(recipe, spec)
    if not isinstance(root.config, TrainConfig):
        return None  # a stage that makes a model and trains none
    if not root.config.init:
        if (model := getattr(root.config, "model", None)) is None:
            return None
        return make_config(model, root.config.data.seq_len, _vocab_size(recipe, root))  # type: ignore[attr-defined]
    folder = Path(root.config.init)
    if is_gguf(folder) and folder.is_file():
        folder = imported_folder(folder)
        if not (folder / MANIFEST).is_file():
            return None  # converted when it is loaded
    is_folder = folder.is_dir()
    reference = str(folder) if is_folder else root.config.init
    try:
        return AutoConfig.from_pretrained(reference, local_files_only=not fetch)
    except Exception as error:  # what the library raises over a config of any type
        if not is_folder:
            return None  # a hub id: checked when it is loaded
        with reading("init"):
            raise error


def _vocab_size(recipe: Recipe, spec: StepSpec) -> int | None:
    """The vocabulary size of the tokenizer, if a step of the recipe makes it."""
    maker = recipe.steps.get(spec.config.tokenizer or TOKENIZER)
    return getattr(maker.config, "vocab_size", None) if maker else None


def weightless_model(config: Any) -> PreTrainedModel | None:
    """The causal LM of a config on the meta device, or None if transformers cannot build it."""
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(copy.deepcopy(config))
    except Exception:  # any library's model code; the model's own loading says what is wrong
        return None


def with_adapter(model: PreTrainedModel, peft: dict[str, Any]) -> Any:
    """A weightless model with the adapter of a recipe's `peft:`.

    Raises:
        ValueError: the model has no such modules, or peft refuses the values (one line).
    """
    from peft import LoraConfig, get_peft_model

    try:
        return get_peft_model(model, LoraConfig(**{"task_type": "CAUSAL_LM", **peft}))
    except Exception as error:  # peft raises a dozen types, all about these keys
        raise ValueError(first_line(error)) from None

"""PEFT adapters: unwrap a model, and merge an adapter into its base model.

The trainer saves the adapter alone, which depends on the path of its base model, and which the next
stage would load frozen. So the adapter goes to STEP/adapter, and STEP/model gets the merged model:
the base is read from disk and merged in float32 on the CPU, because the model in memory may be
sharded over processes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

CONFIG = "adapter_config.json"


def without_adapter(model: Any) -> Any:
    """The model inside peft's wrapper (its adapter layers stay in it); any other as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def _on_this_process_alone() -> Iterator[None]:
    """Load a model without ZeRO-3, under which `from_pretrained` shards it and waits for all."""
    from transformers.integrations import deepspeed

    before = deepspeed._hf_deepspeed_config_weak_ref  # a global that accelerate set
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = before


@_on_this_process_alone()
def merge_adapter(model: Any, folder: Path, aside: Path) -> None:
    """Replace an adapter's folder by that of the merged model; does nothing if it holds none.

    Args:
        model: the trained peft model; its config names the base model.
        folder: where the trainer saved the adapter; afterwards the merged model in float32.
        aside: where the adapter goes, with copies of the tokenizer's files.
    """
    if not (folder / CONFIG).is_file():
        return
    from peft import PeftModel

    aside.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name.startswith("adapter_"):
            path.replace(aside / path.name)
        elif "token" in path.name or path.suffix == ".jinja":  # for chat
            shutil.copy(path, aside / path.name)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    base = model.get_base_model()
    fresh = type(base).from_pretrained(
        base.config._name_or_path, num_labels=base.config.num_labels, dtype=torch.float32
    )
    rows, had = (m.config.get_text_config().vocab_size for m in (base, fresh))
    if rows > had:
        fresh.resize_token_embeddings(rows, mean_resizing=False)  # the adapter holds the new rows
    merged: Any = PeftModel.from_pretrained(fresh, str(aside)).merge_and_unload()
    merged.config.pad_token_id = base.config.pad_token_id
    if getattr(base, "generation_config", None) is not None:
        merged.generation_config = base.generation_config
    merged.save_pretrained(folder)

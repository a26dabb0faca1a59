"""PEFT adapters: the model below one, and an adapter merged into its base.

The trainer saves the adapter alone, which needs its base at the same relative path for ever, and
whose weights are frozen in the next stage. So the adapter goes to STEP/adapter, and STEP/model gets
the base with the adapter added to its weights, read from disk and merged in float32 on the CPU:
the live model may be spread over processes.
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
    """The model that peft has wrapped, its adapter's layers inside it; any other as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def _on_this_process_alone() -> Iterator[None]:
    """Under ZeRO-3 transformers shares what it loads out to every process, and waits for them."""
    from transformers.integrations import deepspeed

    before = deepspeed._hf_deepspeed_config_weak_ref  # accelerate set it: no argument holds it
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = before


@_on_this_process_alone()
def merge_adapter(model: Any, folder: Path, aside: Path) -> None:
    """Where `folder` holds the adapter of `model`: move it `aside`, save the merged model there."""
    if not (folder / CONFIG).is_file():
        return
    from peft import PeftModel

    aside.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name.startswith("adapter_"):
            path.replace(aside / path.name)
        elif "token" in path.name or path.suffix == ".jinja":  # for chat
            shutil.copy(path, aside / path.name)
    (folder / "README.md").unlink(missing_ok=True)  # peft's form of a card, to be filled in by hand
    base = model.get_base_model()
    fresh = type(base).from_pretrained(
        base.config._name_or_path, num_labels=base.config.num_labels, dtype=torch.float32
    )
    rows, had = (m.config.get_text_config().vocab_size for m in (base, fresh))
    if rows > had:
        fresh.resize_token_embeddings(rows, mean_resizing=False)  # the adapter brings the new rows
    merged: Any = PeftModel.from_pretrained(fresh, str(aside)).merge_and_unload()
    merged.config.pad_token_id = base.config.pad_token_id
    if getattr(base, "generation_config", None) is not None:
        merged.generation_config = base.generation_config
    merged.save_pretrained(folder)

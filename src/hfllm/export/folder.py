"""Write a model as an ordinary Hugging Face folder, in another precision and with all its stops.

The weights by `save_pretrained`; in generation_config.json every token that ends an answer, found
by rendering the chat template, because other engines stop at nothing else; the template; the model
card. For vLLM also the names by which transformers 4 knows keys that transformers 5 renamed: read
without them, RoPE's base would silently be 10,000. An adapter apart is the folder that peft wrote.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from hfllm.export.place import check_room, replace_folder
from hfllm.export.request import FOLDER_DTYPES
from hfllm.export.source import Source
from hfllm.inference.load import load_model

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md")
TOKENIZER_4 = "PreTrainedTokenizerFast"  # of TokenizersBackend, which transformers 4 has not


def write_folder(source: Source, out: Path, dtype: str, card: str, older: bool = False) -> None:
    """Write the folder.

    Args:
        source: the model.
        out: the folder; what is there is replaced.
        dtype: a key of FOLDER_DTYPES.
        card: the model card, README.md.
        older: also write the keys that transformers 4 reads.

    Raises:
        ValueError: the model is damaged, or there is too little room (one line).
    """
    kind = getattr(torch, FOLDER_DTYPES[dtype])
    model, tokenizer = load_model(source.folder, kind, "cpu")
    size = sum(p.numel() for p in model.parameters()) * kind.itemsize  # tied ones once
    check_room(out, size, f"{source.name} in {dtype}")
    model.config.dtype = kind
    config: Any = model.generation_config
    config.eos_token_id = sorted(source.stop_ids) or None
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    with TemporaryDirectory(prefix=f"{out.name}.", dir=out.parent) as scratch:
        part = Path(scratch) / out.name
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "README.md").write_text(card, encoding="utf-8")
        if older:
            _add_older_keys(part)
        replace_folder(part, out)


def _add_older_keys(folder: Path) -> None:
    """Add to the folder's JSON files what transformers 4 reads; 5 reads both."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["torch_dtype"] = config["dtype"]
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        config["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
    path.write_text(json.dumps(config, indent=2) + "\n")
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text())
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = TOKENIZER_4
    path.write_text(json.dumps(tokenizer, indent=2) + "\n")


def copy_adapter(adapter: Path, out: Path) -> str:
    """Copy an adapter with its tokenizer; return the base model that it needs."""
    files = [
        path
        for path in adapter.iterdir()
        if path.name in ADAPTER_FILES or "token" in path.name or path.suffix == ".jinja"
    ]
    check_room(out, sum(path.stat().st_size for path in files), "the adapter")
    with TemporaryDirectory(prefix=f"{out.name}.", dir=out.parent) as scratch:
        part = Path(scratch) / out.name
        part.mkdir()
        for path in files:
            shutil.copy(path, part / path.name)
        replace_folder(part, out)
    return str(json.loads((out / ADAPTER_FILES[0]).read_text())["base_model_name_or_path"])

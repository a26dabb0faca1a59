"""Import GGUF, llama.cpp's single-file format, as a `save_pretrained` folder, weights dequantised.

In order: check the header (gguf_header.py), complete the config by what
transformers passes over (gguf_config.py), let it dequantise the weights (`gguf_file=`), copy them
into a model without a quantisation config, which can be saved, and write the folder atomically with
a manifest. transformers alone refuses to save what it read, and reports a bad file as a traceback.
Source of the format: github.com/ggml-org/ggml, docs/gguf.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from hfllm.modeling.gguf_config import complete_config, unread_weights
from hfllm.modeling.gguf_header import checked, read_parts
from hfllm.modeling.gguf_imports import MANIFEST, check_import, write_import_manifest
from hfllm.modeling.gguf_rope import FACTORS
from hfllm.tokenization.from_gguf import Field, byte_level_tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def import_gguf(file: str | Path, out: str | Path, dtype: str = "float32") -> bool:
    """Write a model folder: weights, tokenizer, chat template, generation config, manifest.

    Args:
        file: a .gguf file.
        out: folder to make; may exist if it is empty.
        dtype: of the saved weights: float32, bfloat16 or float16.

    Returns:
        False where `out` already holds this import (same SHA-256 and dtype), else True.

    Raises:
        ValueError: as `read_header`; an unknown dtype; `out` holds something else, or an import
            that lost a file; or too little free disk space.
    """
    path, folder = Path(file), Path(out)
    if dtype not in DTYPES:
        raise ValueError(f"--dtype {dtype} is none of {', '.join(DTYPES)}")
    header, fields = checked(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if _holds(folder, digest, dtype):
            check_import(folder)
            return False
        raise ValueError(f"{folder} holds something else already: name another folder")
    need = header.parameters * DTYPES[dtype].itemsize
    above = next(parent for parent in folder.absolute().parents if parent.is_dir())
    if (free := shutil.disk_usage(above).free) < 1.05 * need:
        raise ValueError(
            f"{above} has {free / 1e9:.1f} GB free, {path.name} in {dtype} needs {need / 1e9:.1f}: "
            "free some, or take --dtype bfloat16"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # a temporary folder each: all processes of one launch may import the same file
    with TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as scratch:
        part = Path(scratch) / folder.name
        part.mkdir()
        _write(path, fields, part, DTYPES[dtype])
        manifest = {"kind": "import", "file": path.name, "sha256": digest, "dtype": dtype}
        write_import_manifest(part, manifest | asdict(header))
        try:
            part.rename(folder)  # atomic; replaces an empty folder only
        except OSError:
            if not _holds(folder, digest, dtype):
                raise
            return False  # another process was first
    return True


def _holds(folder: Path, digest: str, dtype: str) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return (manifest.get("sha256"), manifest.get("dtype")) == (digest, dtype)


def read_gguf(file: str | Path) -> tuple[Any, Any]:
    """The model of a file in float32, as transformers and its header give it, and its tokenizer.

    Raises:
        ValueError: as `read_header`; or a model that its config in transformers cannot say.
    """
    path = Path(file)
    return _read_both(path, checked(path)[1])


def _read_both(path: Path, fields: Field) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if fields("tokenizer.ggml.model") == "gpt2":
        tokenizer: Any = byte_level_tokenizer(fields)
    else:
        tokenizer = AutoTokenizer.from_pretrained(**source)
    try:
        config = AutoConfig.from_pretrained(**source)
        tensors = _complete(path, config)
        model = AutoModelForCausalLM.from_pretrained(**source, config=config, dtype=torch.float32)
    except Exception as error:  # a strict dataclass raises one that is no ValueError
        raise ValueError(f"{path}: {' '.join(str(error).split()):.400}") from error
    if problem := unread_weights(model, tensors):
        raise ValueError(f"{path}: {problem}")
    _stop_at_turns(model, fields)
    return model, tokenizer


def _stop_at_turns(model: Any, fields: Field) -> None:
    """Add the ends of turns and messages that the header names: transformers reads eos alone."""
    named = [fields(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    ids = list(dict.fromkeys(int(i) for i in named if i is not None))
    if len(ids) > 1 and model.generation_config is not None:
        model.generation_config.eos_token_id = ids


def _write(path: Path, fields: Field, folder: Path, dtype: torch.dtype) -> None:
    from transformers import AutoModelForCausalLM

    read, tokenizer = _read_both(path, fields)
    config = read.config
    for name in ("quantization_config", "_pre_quantization_dtype"):  # the weights are dequantised
        if hasattr(config, name):
            delattr(config, name)
    config.dtype = dtype
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    if read.generation_config is not None:
        model.generation_config = read.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _complete(path: Path, config: Any) -> dict[str, int]:
    """Complete `config` by the header; return the number of elements of each weight by name."""
    fields, tensors, keys = read_parts(path)
    start = f"{fields('general.architecture')}."
    header = {key.removeprefix(start): fields(key) for key in keys if key.startswith(start)}
    factors = {t.name: t.data for t in tensors if t.name in FACTORS}
    complete_config(config.get_text_config(), header, factors)
    return {t.name: int(t.n_elements) for t in tensors if t.name not in FACTORS}

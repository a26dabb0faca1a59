"""Import GGUF, llama.cpp's single-file format, as a `save_pretrained` folder, weights dequantised.

In order: check the header (architecture, tokenizer, parts), complete the config by what
transformers passes over (gguf_config.py), let it dequantise the weights (`gguf_file=`), copy them
into a model without a quantisation config, which can be saved, and write the folder atomically with
a manifest. transformers alone refuses to save what it read, and reports a bad file as a traceback.
Source of the format: github.com/ggml-org/ggml, docs/gguf.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from hfllm.modeling.gguf_config import complete_config, unread_weights
from hfllm.modeling.gguf_imports import MANIFEST, check_import, write_import_manifest
from hfllm.modeling.gguf_rope import FACTORS
from hfllm.recipe.did_you_mean import near_path
from hfllm.tokenization.from_gguf import Field, byte_level_tokenizer, tokenizer_problem

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# general.file_type -> type of most of the weights (llama.cpp, llama_ftype)
FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1"} | {
    10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M",
    16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The fields of a GGUF header that are read here."""

    architecture: str
    name: str
    source: str | None  # organisation or address
    license: str | None  # as written in the file, mostly an SPDX id
    quantization: str  # of most of the weights
    parameters: int


def read_header(file: str | Path) -> Header:
    """Read and check the header.

    Raises:
        ValueError: no such file, not a GGUF, truncated, one part of several, an architecture that
            transformers cannot read, or no tokenizer inside that is known. One line.
    """
    return _checked(Path(file))[0]


def _checked(path: Path) -> tuple[Header, Field]:
    if not path.is_file():
        near = near_path(path)
        raise ValueError(f"no file {path}" + (f": did you mean {near}?" if near else ""))
    with path.open("rb") as stream:
        start = stream.read(4)
    if start != b"GGUF":
        raise ValueError(f"{path} is no GGUF file: it starts with {start!r}, not b'GGUF'")
    fields, tensors, _ = _read(path)
    parts = int(fields("split.count") or 1)
    if parts > 1:
        part = int(fields("split.no") or 0) + 1
        raise ValueError(
            f"{path} is part {part} of {parts}: join them first (llama-gguf-split --merge)"
        )
    architecture = str(fields("general.architecture"))
    _check_readable(path, architecture)
    if problem := tokenizer_problem(fields):
        raise ValueError(f"{path} {problem}")
    header = Header(
        architecture=architecture,
        name=str(fields("general.name") or path.stem),
        source=fields("general.source.url") or fields("general.organization"),
        license=fields("general.license"),
        quantization=_quantization(fields("general.file_type"), tensors),
        parameters=sum(int(tensor.n_elements) for tensor in tensors),
    )
    return header, fields


def _read(path: Path) -> tuple[Field, list[Any], list[str]]:
    """The header's fields by key, the tensors, and the keys."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except Exception as error:  # reading past the end raises many types of error
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: fetch it again "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
        ) from error

    def value(key: str) -> Any:
        field = reader.fields.get(key)
        return None if field is None else field.contents()

    return value, list(reader.tensors), list(reader.fields)


def _check_readable(path: Path, architecture: str) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES as KNOWN

    if architecture not in KNOWN:
        raise ValueError(
            f"{path}: transformers cannot read the architecture '{architecture}' from GGUF; "
            f"it reads {', '.join(sorted(KNOWN))}. Take the model's safetensors"
        )


def _quantization(file_type: Any, tensors: list[Any]) -> str:
    """The type in the header, else the most frequent one among the weights."""
    if file_type is not None and int(file_type) in FILE_TYPES:
        return FILE_TYPES[int(file_type)]
    elements: dict[str, int] = {}
    for tensor in tensors:
        name = tensor.tensor_type.name
        elements[name] = elements.get(name, 0) + int(tensor.n_elements)
    return max(elements, key=lambda name: elements[name]) if elements else "unknown"


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
    header, fields = _checked(path)
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


def _write(path: Path, fields: Field, folder: Path, dtype: torch.dtype) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if fields("tokenizer.ggml.model") == "gpt2":
        tokenizer: Any = byte_level_tokenizer(fields)
    else:
        tokenizer = AutoTokenizer.from_pretrained(**source)
    try:
        config = AutoConfig.from_pretrained(**source)
        tensors = _complete(path, config)
        read = AutoModelForCausalLM.from_pretrained(**source, config=config, dtype=torch.float32)
    except Exception as error:  # a strict dataclass raises one that is no ValueError
        raise ValueError(f"{path}: {' '.join(str(error).split()):.400}") from error
    if problem := unread_weights(read, tensors):
        raise ValueError(f"{path}: {problem}")
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
    fields, tensors, keys = _read(path)
    start = f"{fields('general.architecture')}."
    header = {key.removeprefix(start): fields(key) for key in keys if key.startswith(start)}
    factors = {t.name: t.data for t in tensors if t.name in FACTORS}
    complete_config(config.get_text_config(), header, factors)
    return {t.name: int(t.n_elements) for t in tensors if t.name not in FACTORS}

"""Read the header of a GGUF file, and refuse in one line a file that cannot be imported.

Checked: it is a GGUF, whole, one file, of an architecture that transformers reads, with a tokenizer
that is known here. Source of the format: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.did_you_mean import near_path
from hfllm.tokenization.from_gguf import Field, tokenizer_problem

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
    return checked(Path(file))[0]


def checked(path: Path) -> tuple[Header, Field]:
    """The checked header, and a function that gives any of its fields; errors as `read_header`."""
    if not path.is_file():
        near = near_path(path)
        raise ValueError(f"no file {path}" + (f": did you mean {near}?" if near else ""))
    with path.open("rb") as stream:
        start = stream.read(4)
    if start != b"GGUF":
        raise ValueError(f"{path} is no GGUF file: it starts with {start!r}, not b'GGUF'")
    fields, tensors, _ = read_parts(path)
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


def read_parts(path: Path) -> tuple[Field, list[Any], list[str]]:
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

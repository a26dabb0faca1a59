"""Write a model as one GGUF file, llama.cpp's format, tensor by tensor.

In order: the header's keys from the config and the tokenizer, which refuse what llama.cpp would
compute otherwise; the size, compared with the free disk; the tensors, each read, converted and
written before the next. The file appears under its name when it is whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import quant_shape_to_byte_shape

from hfllm.export.gguf_architecture import architecture_keys, architecture_of
from hfllm.export.gguf_tensors import TYPES, Tensor, converted, tensors
from hfllm.export.gguf_tokenizer import tokenizer_fields
from hfllm.export.place import check_room
from hfllm.export.source import Source
from hfllm.export.weights import Weights, open_weights

PLAIN: dict[Type, Any] = {Type.F32: np.float32, Type.F16: np.float16}


@dataclass(frozen=True)
class Written:
    """A finished file."""

    path: Path
    stops: list[str]  # texts of the tokens that end an answer
    notes: list[str]


def write_gguf(source: Source, path: Path, dtype: str) -> Written:
    """Write the file.

    Args:
        source: the model.
        path: of the file.
        dtype: a key of TYPES.

    Raises:
        ValueError: GGUF or llama.cpp cannot hold this model, the folder is damaged, or there is
            too little room (one line).
    """
    notes: list[str] = []
    try:
        architecture = architecture_of(source.config)
        keys = architecture_keys(source.config, notes)
        vocabulary = tokenizer_fields(source.tokenizer, source.config.vocab_size, source.stop_ids)
    except ValueError as error:
        raise ValueError(f"{source.folder}: {error}") from error
    with open_weights(source.folder, source.config) as weights:
        plan = tensors(source.config, weights, dtype)
        check_room(path, sum(tensor.bytes for tensor in plan), f"{source.name} in {dtype}")
        part = path.with_name(f"{path.name}.part")
        try:
            writer = gguf.GGUFWriter(part, architecture.name)
            _add_keys(writer, _general(source, weights, dtype) | _below(architecture.name, keys))
            _add_keys(writer, _below("tokenizer", vocabulary.keys))
            _write(writer, source, weights, plan)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return Written(path, vocabulary.stops, notes + vocabulary.notes)


def _general(source: Source, weights: Weights, dtype: str) -> dict[str, Any]:
    said = {"license": source.origin.get("license"), "organization": source.origin.get("source")}
    total = weights.parameters
    return {
        "general.type": "model",
        "general.name": source.name,
        "general.size_label": gguf.size_label(total, total, 0, 0),
        **{f"general.{key}": value for key, value in said.items() if value},
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        "general.file_type": TYPES[dtype][1],
    }


def _below(name: str, keys: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in keys.items()}


def _add_keys(writer: gguf.GGUFWriter, keys: dict[str, Any]) -> None:
    adders: dict[type, Any] = {bool: writer.add_bool, int: writer.add_uint32}
    adders |= {float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    for key, value in keys.items():
        adders[type(value)](key, value)


def _write(writer: gguf.GGUFWriter, source: Source, weights: Weights, plan: list[Tensor]) -> None:
    for tensor in plan:
        in_blocks = tensor.type not in PLAIN  # which the writer takes as bytes
        shape = quant_shape_to_byte_shape(tensor.shape, tensor.type) if in_blocks else tensor.shape
        kind = np.dtype(np.uint8 if in_blocks else PLAIN[tensor.type])
        writer.add_tensor_info(tensor.name, shape, kind, tensor.bytes, tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for array in converted(source.config, weights, plan):
        writer.write_tensor_data(array)
    writer.close()

"""The weights of a GGUF file: llama.cpp's names, the order of their rows, and how they are stored.

Norms and biases stay float32, matrices get the type asked for. Rows are stored in blocks of 32; a
matrix whose rows do not divide is float16. With 4 or 5 bits the embeddings and the head stay Q8_0,
as they lose most. The blocks are made by the gguf package's `quants`, which equals llama.cpp's
reference; the K types (Q4_K_M, Q6_K) it can read only. llama.cpp's Llama pairs neighbouring
dimensions in RoPE where transformers pairs halves, so the rows of its queries and keys are
reordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

from hfllm.export.gguf_architecture import Architecture, architecture_of, rope_factors
from hfllm.export.weights import Weights

TYPES = {
    "f32": (Type.F32, 0),
    "f16": (Type.F16, 1),
    "bf16": (Type.BF16, 32),
    "q8_0": (Type.Q8_0, 7),
    "q5_0": (Type.Q5_0, 8),
    "q5_1": (Type.Q5_1, 9),
    "q4_0": (Type.Q4_0, 2),
    "q4_1": (Type.Q4_1, 3),
}  # fmt: skip  name -> type of a matrix, general.file_type (llama.cpp, llama_ftype)
FEW_BITS = (Type.Q5_0, Type.Q5_1, Type.Q4_0, Type.Q4_1)
AT_LEAST_Q8 = ("token_embd.weight", "output.weight")
BLOCK = 32


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file; `make` reads and converts it."""

    name: str  # llama.cpp's
    source: str | None  # name in the model folder; None: the RoPE factors
    shape: tuple[int, ...]
    type: Type

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        block, size = gguf.GGML_QUANT_SIZES[self.type]
        return int(np.prod(self.shape)) // block * size


def tensors(config: Any, weights: Weights, dtype: str) -> list[Tensor]:
    """What the file will hold, in the order of writing.

    Raises:
        ValueError: llama.cpp has no name for a weight.
    """
    architecture = architecture_of(config)
    names = _name_map(architecture, config.num_hidden_layers)
    wanted = TYPES[dtype][0]
    found = []
    if (factors := rope_factors(config)) is not None:
        found.append(Tensor("rope_freqs.weight", None, factors.shape, Type.F32))
    for source, shape in weights.shapes.items():
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ValueError(f"llama.cpp's {architecture.name} has no weight {source}")
        found.append(Tensor(name, source, shape, _stored(name, shape, wanted)))
    return found


def _name_map(architecture: Architecture, layers: int) -> Any:
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(kinds[architecture.name], layers)


def _stored(name: str, shape: tuple[int, ...], wanted: Type) -> Type:
    if len(shape) < 2:
        return Type.F32
    if wanted in FEW_BITS and name in AT_LEAST_Q8:
        wanted = Type.Q8_0
    in_blocks = gguf.GGML_QUANT_SIZES[wanted][0] > 1
    return Type.F16 if in_blocks and shape[-1] % BLOCK else wanted


def converted(config: Any, weights: Weights, plan: list[Tensor]) -> Iterator[np.ndarray]:
    """The tensors of a plan as they are stored, one at a time.

    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    permutes = architecture_of(config).permutes
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for tensor in plan:
        if tensor.source is None:
            yield np.asarray(rope_factors(config))
            continue
        values = weights.get(tensor.source)
        part = tensor.name.split(".")[-2]
        if permutes and part in heads:
            values = permuted(values, heads[part])
        yield _as_stored(values.float().contiguous().numpy(), tensor)


def rounder(config: Any, dtype: str) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """A function that gives a weight, by its name in the model folder, as a file holds it."""
    names = _name_map(architecture_of(config), config.num_hidden_layers)

    def rounded(source: str, weight: torch.Tensor) -> torch.Tensor:
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        stored = _stored(name, tuple(weight.shape), TYPES[dtype][0])
        values = gguf.quants.quantize(weight.detach().numpy(), stored)
        return torch.from_numpy(gguf.quants.dequantize(values, stored).reshape(weight.shape))

    return rounded


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in llama.cpp's order: the two halves of a head interleaved. (heads * head_dim, ...)."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def _as_stored(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.type == Type.F16 and (largest := float(np.abs(values).max())) > 65504:
        raise ValueError(
            f"{tensor.source} holds {largest:.3g}, and float16 ends at 65,504: take --dtype bf16"
        )
    made = gguf.quants.quantize(values, tensor.type)
    assert made.nbytes == tensor.bytes, f"{tensor.name}: {made.nbytes} bytes, not {tensor.bytes}"
    return made

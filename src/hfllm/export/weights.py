"""The weights of a model folder, one at a time: a model larger than the memory can be exported.

Names and shapes are compared with those of the model that the config describes, built without
memory, so a folder that lacks weights is refused before anything is written. Sharded folders are
read by their index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from hfllm.recipe.errors import reading

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
COMPUTED = "rotary_emb.inv_freq"  # old folders hold it
HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"


@dataclass(frozen=True)
class Weights:
    """Tensors by name; `get` reads one from the disk."""

    shapes: Mapping[str, tuple[int, ...]]  # without tied ones
    dtype: torch.dtype  # of most
    files: Mapping[str, Any]  # name -> open safetensors file, or the tensors themselves

    def get(self, name: str) -> torch.Tensor:
        """One tensor, checked to be finite.

        Raises:
            ValueError: it holds NaN or infinity.
        """
        source = self.files[name]
        found = source if isinstance(source, torch.Tensor) else source.get_tensor(name)
        if not found.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity: its training has diverged")
        return found

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones once."""
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())


@contextmanager
def open_weights(folder: Path, config: Any) -> Iterator[Weights]:
    """Open the safetensors of a folder.

    Raises:
        ValueError: none there, damaged, or not those of the config's model (one line).
    """
    from safetensors import safe_open

    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for path in weight_files(folder):
            with reading(f"{path} is damaged"):
                opened = stack.enter_context(safe_open(path, framework="pt"))
            files |= dict.fromkeys(opened.keys(), opened)
        shapes = {
            name: tuple(file.get_slice(name).get_shape())
            for name, file in files.items()
            if not name.endswith(COMPUTED)
        }
        expected = expected_shapes(config)
        if config.tie_word_embeddings:  # some folders hold it twice
            shapes.pop(HEAD, None)
            expected.pop(HEAD, None)
        _check(folder, shapes, expected)
        dtype = files[EMBEDDINGS].get_slice(EMBEDDINGS).get_dtype()
        yield Weights(shapes, STORED.get(dtype, torch.float32), files)


STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder, by its index where there is one."""
    index = folder / INDEX
    if index.is_file():
        with reading(f"{index} is damaged"):
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        paths = [folder / name for name in names]
    else:
        paths = [folder / WHOLE]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{folder} has no {path.name}: a model folder holds its weights there")
    return paths


def expected_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a config's model, without memory for them."""
    with reading("config.json"), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _check(
    folder: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    missing, odd = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or odd:
        what = (
            f"lacks {len(missing)} weights, {missing[0]!r} first"
            if missing
            else (f"has {len(odd)} weights that its config does not name, {odd[0]!r} first")
        )
        raise ValueError(f"{folder} {what}: its weights are another model's than its config.json")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(
                f"{folder}: {name} is {found[name]}, by config.json {shape}: its weights are "
                "another model's than its config.json"
            )

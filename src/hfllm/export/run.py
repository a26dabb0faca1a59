"""Carry out `hfllm export`: find the model, write it, check what was written, say how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hfllm.export.card import card_of
from hfllm.export.check import checked
from hfllm.export.folder import copy_adapter, write_folder
from hfllm.export.gguf_file import write_gguf
from hfllm.export.gguf_tensors import rounder
from hfllm.export.hub import check_hub, listing, send
from hfllm.export.modelfile import modelfile
from hfllm.export.place import check_free
from hfllm.export.request import FOLDER_DTYPES, Request
from hfllm.export.source import Source, find_adapter, open_source
from hfllm.inference.load import load_model
from hfllm.modeling.gguf import read_gguf
from hfllm.recipe.model_names import is_gguf
from hfllm.recipe.stage import Stages


def export(request: Request, stages: Stages) -> Iterator[str]:
    """Export a model; yields what is to be said about it.

    Args:
        request: as the command line gives it.
        stages: of the run that made the model, for its card.

    Raises:
        ValueError: see `open_source`, and the writer of each target (one line).
    """
    if request.to == "hub":
        yield from _hub(request, stages)
    elif request.adapter == "apart":
        yield from _adapter(request, Path(request.out))
    else:
        with open_source(request.model) as source:
            is_file = request.to == "gguf"
            yield from _gguf(source, request) if is_file else _folder(source, request, stages)


def _gguf(source: Source, request: Request) -> Iterator[str]:
    path = gguf_path(request, source.name)
    check_free(path, request.force)
    beside = path.with_suffix(".Modelfile")
    check_free(beside, request.force)
    written = write_gguf(source, path, request.dtype)
    if request.check:
        rounded = rounder(source.config, request.dtype)
        yield checked(source, path, request.dtype, rounded, lambda: read_gguf(path))
    text, notes = modelfile(path.name, source.tokenizer, written.stops, source.is_chat)
    beside.write_text(text, encoding="utf-8")
    yield from (f"note: {note}" for note in [*written.notes, *notes])
    yield f"{path}: llama-cli -m {shlex.quote(str(path))}"
    yield f"{beside}: ollama create {path.stem.lower()} -f {shlex.quote(str(beside))}"


def gguf_path(request: Request, name: str) -> Path:
    """The file that `--out` means: itself, or in a folder the usual name NAME-TYPE.gguf.

    LM Studio finds files at PUBLISHER/MODEL/FILE.gguf below its folder of models.
    """
    if request.lm_studio:
        publisher, name = request.lm_studio.split("/")
        return Path(request.out, publisher, name, f"{name}-{request.dtype.upper()}.gguf")
    out = Path(request.out)
    return out if is_gguf(out) else out / f"{name}-{request.dtype.upper()}.gguf"


def _folder(source: Source, request: Request, stages: Stages) -> Iterator[str]:
    out = Path(request.out)
    check_free(out, request.force)
    write_folder(source, out, request.dtype, card_of(source, stages), older=request.to == "vllm")
    if request.check:
        kind = getattr(torch, FOLDER_DTYPES[request.dtype])
        yield checked(
            source,
            out,
            request.dtype,
            lambda _, weight: weight.to(kind).float(),
            lambda: load_model(out, torch.float32, "cpu"),
        )
    place = shlex.quote(str(out))
    yield f"{out}: " + (f"vllm serve {place}" if request.to == "vllm" else f"hfllm chat {place}")


def _hub(request: Request, stages: Stages) -> Iterator[str]:
    """Write the folder beside, then send it: nothing is on the hub before it is checked."""
    if not request.dry_run:
        check_hub()
    with TemporaryDirectory(prefix="hfllm-hub.") as scratch:
        out = Path(scratch) / request.out.split("/")[1]
        if request.adapter == "apart":
            yield from _adapter(request, out)
        else:
            aside = replace(request, to="vllm", out=str(out), dry_run=False, public=False)
            with open_source(request.model) as source:  # readers there may have transformers 4
                yield from list(_folder(source, aside, stages))[:-1]
        yield from listing(out, request.out, request.public)
        if not request.dry_run:
            yield send(out, request.out, request.public, request.force)


def _adapter(request: Request, out: Path) -> Iterator[str]:
    adapter = find_adapter(request.model)
    check_free(out, request.force)
    base = copy_adapter(adapter, out)
    yield f"{out}: an adapter of {base}"
    if request.to == "vllm":
        yield (
            f"vllm serve {shlex.quote(base)} --enable-lora --lora-modules "
            f"{shlex.quote(f'{out.name}={out}')}"
        )

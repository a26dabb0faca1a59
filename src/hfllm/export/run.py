"""Carry out `hfllm export`: find the model, write it, check what was written, say how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from hfllm.export.place import check_free
from hfllm.export.request import Request
from hfllm.export.source import Source, open_source
from hfllm.recipe.model_names import is_gguf


def export(request: Request) -> Iterator[str]:
    """Export a model; yields what is to be said about it.

    Args:
        request: as the command line gives it.

    Raises:
        ValueError: see `open_source`, and the writer of each target (one line).
    """
    source = open_source(request.model)
    yield from _gguf(source, request)


def _gguf(source: Source, request: Request) -> Iterator[str]:
    from hfllm.export.check import checked
    from hfllm.export.gguf_file import write_gguf
    from hfllm.export.modelfile import modelfile
    from hfllm.modeling.gguf import read_gguf

    path = gguf_path(request.out, source.name, request.dtype)
    check_free(path, request.force)
    beside = path.with_suffix(".Modelfile")
    check_free(beside, request.force)
    written = write_gguf(source, path, request.dtype)
    if request.check:
        yield checked(source, path, request.dtype, lambda: read_gguf(path))
    text, notes = modelfile(path.name, source.tokenizer, written.stops, source.is_chat)
    beside.write_text(text, encoding="utf-8")
    yield from (f"note: {note}" for note in [*written.notes, *notes])
    yield f"{path}: llama-cli -m {shlex.quote(str(path))}"
    yield f"{beside}: ollama create {path.stem.lower()} -f {shlex.quote(str(beside))}"


def gguf_path(out: str, name: str, dtype: str) -> Path:
    """The file that `--out` means: itself, or in a folder the usual name NAME-TYPE.gguf."""
    return Path(out) if is_gguf(out) else Path(out) / f"{name}-{dtype.upper()}.gguf"

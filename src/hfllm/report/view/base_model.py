"""Base models: the outside models that a run's models were made from, for the model cards.

Outside means that no step of this run made it: a hub id, a folder, a GGUF file. What is known of it
comes from the manifest of its import; a folder that another run of hfllm made is followed through
that run's manifests to the model that it started from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.modeling.gguf_imports import imported_folder
from hfllm.recipe.model_names import is_gguf, is_hub_id
from hfllm.report.collect import Run, StepView, parents


@dataclass(frozen=True)
class Base:
    """An outside model."""

    reference: str
    known: dict[str, Any]  # the manifest of its import (name, license, ...); empty without one
    made_from: Base | None = None  # its own base model, if another run's step made it

    @property
    def is_hub_id(self) -> bool:
        """Whether it is a model id on the Hugging Face hub."""
        return is_hub_id(self.reference) and not Path(self.reference).parent.exists()


def bases(steps: list[StepView]) -> list[Base]:
    """The base models that `steps` were initialised from, each once."""
    found: dict[str, Base] = {}
    for step in steps:
        if init := _outside(step):
            found.setdefault(init, _base(init))
    return list(found.values())


def base_of(run: Run, step: StepView) -> Base | None:
    """The base model at the start of the chain of `init` that leads to `step`; None without one."""
    known = {s.name: s for s in run.steps}
    chain = {step.name}
    while not (init := _outside(step)):
        before = str(step.section("config").get("init"))
        if before not in known or before in chain:
            return None
        chain.add(before)
        step = known[before]
    return _base(init)


def _outside(step: StepView) -> str | None:
    init = step.section("config").get("init")
    return init if isinstance(init, str) and init and init not in parents(step) else None


def _base(reference: str, links: int = 8) -> Base:
    """The base model with what is known of it; at most `links` steps of other runs are followed."""
    known = _import_manifest(Path(reference))
    return Base(reference, known, None if known or not links else _made_from(reference, links))


def _made_from(reference: str, links: int) -> Base | None:
    """The base model of another run's step; `reference` is its folder or that of its model."""
    folder = Path(reference)
    step = next((at for at in (folder, folder.parent) if (at / "manifest.json").is_file()), folder)
    config = _read(step / "manifest.json").get("config")
    init = config.get("init") if isinstance(config, dict) else None
    if not isinstance(init, str) or not init:
        return None
    before = step.parent / init
    return _base(str(before) if (before / "manifest.json").is_file() else init, links - 1)


def _import_manifest(folder: Path) -> dict[str, Any]:
    if is_gguf(folder) and folder.is_file():
        folder = imported_folder(folder)
    read = _read(folder / "manifest.json")
    return read if read.get("kind") == "import" else {}


def _read(manifest: Path) -> dict[str, Any]:
    try:
        read = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}

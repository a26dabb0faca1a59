"""The models of others that a model was made from, and what is known of them, for its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.model_names import is_gguf, is_hub_id
from hfllm.report.collect import Run, StepView, parents
from hfllm.report.markdown import safe


@dataclass(frozen=True)
class Base:
    """A model that no step of the run made: a hub id, a folder or a GGUF file."""

    reference: str
    known: dict[str, Any]  # what an import wrote down of it; empty where nothing did
    made_from: Base | None = None  # what it began with, where another run's step made it

    @property
    def is_hub_id(self) -> bool:
        """Whether others can find it under this name."""
        return is_hub_id(self.reference) and not Path(self.reference).parent.exists()

    def line(self) -> str:
        """One line of Markdown: who made it, its licence, the file it was read from."""
        parts = [f"`{safe(self.reference)}`"]
        for key, words in (("name", ""), ("source", "by "), ("file", "from ")):
            if self.known.get(key):
                parts.append(words + safe(self.known[key]))
        if self.known.get("quantization"):
            parts.append(f"quantised as {safe(self.known['quantization'])}")
        if self.made_from:
            return f"{parts[0]}, made from {self.made_from.line()}"
        licence = self.known.get("license")
        end = f"licence {safe(licence)}" if licence else "its licence is not recorded: look it up"
        return ", ".join([*parts, end])


def bases(steps: list[StepView]) -> list[Base]:
    """The outside models that `steps` were initialised from, each once."""
    found: dict[str, Base] = {}
    for step in steps:
        if init := _outside(step):
            found.setdefault(init, _base(init))
    return list(found.values())


def base_of(run: Run, step: StepView) -> Base | None:
    """The outside model at the head of the chain of `init` that leads to this step."""
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
    """A base with what is known of it; a chain of runs is followed for at most `links` steps."""
    known = _import_manifest(Path(reference))
    return Base(reference, known, None if known or not links else _made_from(reference, links))


def _made_from(reference: str, links: int) -> Base | None:
    """What the step of another run began with, for its folder or its model's."""
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
        from hfllm.modeling.gguf import imported_folder  # torch, which nothing else here needs

        folder = imported_folder(folder)
    read = _read(folder / "manifest.json")
    return read if read.get("kind") == "import" else {}


def _read(manifest: Path) -> dict[str, Any]:
    try:
        read = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}

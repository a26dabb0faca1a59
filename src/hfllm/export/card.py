"""The model card of an export: the folder's own, that of its step, or a short one."""

from __future__ import annotations

import json

from hfllm.export.source import Source
from hfllm.recipe.stage import Stages
from hfllm.report.card import model_card

CARD = "README.md"


def card_of(source: Source, stages: Stages) -> str:
    """The card as Markdown: README.md of the model folder, else what the run's manifests say."""
    own = source.folder / CARD
    if own.is_file():
        return own.read_text(encoding="utf-8")
    step = source.folder.parent
    if source.folder.name == "model" and (step / "manifest.json").is_file():
        try:
            return model_card(step, stages)
        except (ValueError, KeyError):  # of a stage that is not installed here
            pass
    return _short(source)


def _short(source: Source) -> str:
    said = source.origin
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    lines += [f"license: {json.dumps(said['license'])}"] if said.get("license") else []
    lines += ["---", "", f"# {source.name}", ""]
    made = " by ".join(str(said[key]) for key in ("name", "source") if said.get(key))
    lines.append(f"Exported by hfllm{f' from {made}' if made else ''}.")
    if not said.get("license"):
        lines.append("Its licence is not recorded: look up that of the model it was made of.")
    return "\n".join(lines) + "\n"

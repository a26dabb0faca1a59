"""How to look at a finished run: its page, and the command that talks to its last model."""

from __future__ import annotations

import shlex

from hfllm.recipe.recipe import Recipe
from hfllm.recipe.stage import LANGUAGE_MODEL, PAGE
from hfllm.runs.layout import step_named


def closing_line(recipe: Recipe) -> str:
    """One line; empty while the run has neither a page nor a language model."""
    steps = [step_named(recipe, name) for name in recipe.steps]
    pages = [step.folder / "index.html" for step in steps if step.stage.makes == PAGE]
    said = [f"open {page}" for page in pages if page.is_file()]
    models = [s for s in steps if s.stage.makes == LANGUAGE_MODEL and s.model.is_dir()]
    if models:
        last = models[-1]
        plain = "" if last.stage.chat else " --plain"
        said.append(f"hfllm chat {shlex.quote(str(last.model))}{plain}")
    return "; ".join(said)

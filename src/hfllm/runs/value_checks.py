"""Check what a recipe itself says, alone and together; no source and no model is looked at.

`hfllm show` refuses what these checks find, and so does everything that starts a run (preflight).
"""

from __future__ import annotations

from typing import Any

from hfllm.recipe.checks import value_problems
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.graph import sources_in
from hfllm.recipe.recipe import Recipe, StepSpec


def check_values(recipe: Recipe, names: list[str]) -> None:
    """Check what the recipe itself says of the named steps; RecipeError with all problems.

    For `hfllm show`: the values that `preflight` refuses, whatever files and models are there yet.
    """
    found = [line for name in names for line in problems(recipe, recipe.steps[name])]
    if found:
        raise RecipeError(recipe.path, found)


def problems(recipe: Recipe, spec: StepSpec) -> list[str]:
    """Problems of values, alone and together; no source and no model is looked at."""
    found = _eval_strategy_problems(spec)
    return found + _heldout_file_problems(recipe, spec) + value_problems(spec)


def _eval_strategy_problems(spec: StepSpec) -> list[str]:
    """An eval_strategy that the recipe sets without held-out rows; a stage's default may stay."""
    data: Any = getattr(spec.config, "data", None)
    trainer = getattr(spec.config, "trainer", {})
    strategy = trainer.get("eval_strategy", "no")
    if strategy in (None, "no", False) or data is None:
        return []
    if getattr(data, "heldout", None) or getattr(data, "holdout", False):
        return []
    if not hasattr(data, "heldout"):
        return [
            f"{spec.name}.trainer.eval_strategy: {strategy}, but {spec.stage.name} holds no rows "
            "out; remove this key"
        ]
    where = f"{spec.name}.data.heldout" + (" or holdout" if hasattr(data, "holdout") else "")
    return [f"{spec.name}.trainer.eval_strategy: {strategy} needs {where}"]


def _heldout_file_problems(recipe: Recipe, spec: StepSpec) -> list[str]:
    """Sources that read heldout.jsonl of a step that holds nothing out."""
    problems = []
    for key, source in sources_in(spec.config):
        if not source.step or source.file != "heldout.jsonl":
            continue
        maker = recipe.steps[source.step]
        data: Any = getattr(maker.config, "data", maker.config)
        if not (getattr(data, "holdout", True) or getattr(data, "heldout", None)):
            where = f"{source.step}.{'holdout' if data is maker.config else 'data.holdout'}"
            problems.append(f"{spec.name}.{key}: {source.step} holds nothing out; set {where}=0.1")
    return problems

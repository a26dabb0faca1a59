"""Read the command line of launch/*.py: RECIPE [--step NAME] [step.key=value ...]."""

from __future__ import annotations

from pathlib import Path

from hfllm.recipe.load import load_recipe
from hfllm.recipe.recipe import Recipe
from hfllm.recipe.stage import Stages
from hfllm.runs.layout import step_named


class Usage(ValueError):
    """The command line names no recipe."""

    exit_code = 2


def usage(stage: str | None) -> str:
    """The usage line of launch/STAGE.py."""
    step = "[--step NAME]" if stage else "--step NAME"
    return (
        f"usage: accelerate launch launch/{stage or 'stage'}.py RECIPE {step} [step.key=value ...]"
    )


def arguments(stage: str | None, words: list[str], stages: Stages) -> tuple[Recipe, str]:
    """The recipe and the name of the step that the command line asks for.

    Args:
        stage: the stage of launch/STAGE.py; None: any, named by --step.
        words: the command line after the script's name.
        stages: the stages that the recipe's steps may name.

    Raises:
        ValueError: one line on what is wrong; Usage if no recipe is named.
    """
    chosen = None
    if "--step" in words:
        at = words.index("--step")
        if at + 1 >= len(words):
            raise ValueError("--step needs the name of a step")
        chosen = words[at + 1]
        del words[at : at + 2]
    words[:] = [w for w in words if not w.startswith("--local_rank")]  # deepspeed's launcher
    unknown = [w for w in words if w.startswith("-")]
    if unknown:
        raise ValueError(f"unknown option {unknown[0]}; overrides are written step.key=value")
    files = [w for w in words if "=" not in w]
    if len(files) > 1:
        raise ValueError(
            f"one recipe at a time, found {files[0]} and {files[1]!r}; overrides are written "
            "step.key=value"
        )
    if not files:
        raise Usage(usage(stage))
    path = Path(files[0])
    recipe = load_recipe(path, stages, [w for w in words if "=" in w])
    if stage is None:
        if chosen is None:
            raise ValueError(f"--step NAME is needed; {path} has {', '.join(recipe.steps)}")
        return recipe, chosen
    name = chosen or recipe.step_of_stage(stage)
    if name is None:
        steps = ", ".join(recipe.steps)
        raise ValueError(f"{path}: no step of stage '{stage}'; the recipe has {steps}")
    step = step_named(recipe, name)
    if step.stage.name != stage:
        other = step.stage.name
        raise ValueError(f"{path}: step '{name}' is of stage '{other}', not '{stage}'")
    return recipe, name

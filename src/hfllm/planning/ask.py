"""Answer `hfllm plan` and the plan below a dry run: check the recipe, choose devices and speed."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.planning.devices import Device
from hfllm.planning.plan import Plan, Speed, here, on_device, plan_recipe
from hfllm.planning.values import field_problems
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.recipe import Recipe
from hfllm.runs.layout import step_named
from hfllm.runs.preflight import recipe_problems


@dataclass(frozen=True)
class Asked:
    """The options of `hfllm plan`; None: not given."""

    device: Device | None = None
    count: int | None = None
    mfu: float | None = None
    probe: bool = False


def plan_of(recipe: Recipe, names: list[str], asked: Asked) -> Plan:
    """Check the steps and plan them.

    Args:
        recipe: as `load_recipe` returned it.
        names: of steps; none: all that train.
        asked: the options.

    Raises:
        ValueError: a step is unknown or does not train, or a value cannot be planned with.
        RecipeError: the recipe's problems, as a dry run finds them; what is particular to this
            machine (the hub, the launcher) is left out, as the run may be for another one.
    """
    wanted = _training_steps(recipe, names)
    problems = recipe_problems(recipe, wanted)
    problems += [line for name in wanted for line in field_problems(recipe.steps[name])]
    if problems:
        raise RecipeError(recipe.path, problems)
    speed = Speed() if asked.mfu is None else Speed(asked.mfu, is_assumed=False)
    use_cpu = all(recipe.steps[name].config.trainer.get("use_cpu") for name in wanted)
    where = on_device(asked.device, asked.count) if asked.device else here(recipe, use_cpu)
    speeds: dict[str, Speed] = {}
    return plan_recipe(recipe, wanted, where, speeds, speed)


def _training_steps(recipe: Recipe, names: list[str]) -> list[str]:
    for name in names:
        step = step_named(recipe, name)
        if not step.stage.trains:
            raise ValueError(
                f"{recipe.path}: step '{name}' trains nothing; a plan is of training steps: "
                f"{', '.join(_all(recipe)) or 'this recipe has none'}"
            )
    if not (found := names or _all(recipe)):
        raise ValueError(f"{recipe.path}: no step of it trains; there is nothing to plan")
    return found


def _all(recipe: Recipe) -> list[str]:
    return [name for name, spec in recipe.steps.items() if spec.stage.trains]

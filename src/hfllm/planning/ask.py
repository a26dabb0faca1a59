"""Answer `hfllm plan` and the plan below a dry run: check the recipe, choose devices and speed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfllm.planning.devices import Device
from hfllm.planning.figures import Plan, Speed, Where
from hfllm.planning.plan import here, on_device, plan_recipe
from hfllm.planning.probe import probe
from hfllm.planning.speeds import recall, remember
from hfllm.planning.text import plan_lines
from hfllm.planning.values import field_problems
from hfllm.recipe.errors import RecipeError
from hfllm.recipe.recipe import Recipe
from hfllm.recipe.trainers import check_trainers
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
    if asked.device:
        return plan_recipe(recipe, wanted, on_device(asked.device, asked.count), {}, speed)
    where = replace(here(recipe, _use_cpu(recipe, wanted)), count=asked.count)
    if asked.probe:
        check_trainers(recipe, wanted)  # before minutes are spent
        for one in plan_recipe(recipe, wanted, where, {}, speed).steps:
            remember(one, where, probe(one))
    return plan_recipe(recipe, wanted, where, _recalled(recipe, wanted, where), speed)


def lines_of_run(recipe: Recipe, names: list[str]) -> list[str]:
    """The plan of the training steps among `names`, which a dry run has checked; [] of none."""
    training = [name for name in names if recipe.steps[name].stage.trains]
    if not training:
        return []
    where = here(recipe, _use_cpu(recipe, training))
    plan = plan_recipe(recipe, training, where, _recalled(recipe, training, where), Speed())
    return ["", *plan_lines(plan)]


def _recalled(recipe: Recipe, names: list[str], where: Where) -> dict[str, Speed]:
    """The speeds that were measured on this machine of steps like these."""
    steps = plan_recipe(recipe, names, where, {}, Speed()).steps
    return {one.step.name: speed for one in steps if (speed := recall(one, where))}


def _use_cpu(recipe: Recipe, names: list[str]) -> bool:
    return all(recipe.steps[name].config.trainer.get("use_cpu") for name in names)


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

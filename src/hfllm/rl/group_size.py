"""Whether groups of answers to one prompt fill a rollout: checked before a run, from the recipe.

GRPO and RLOO compare `num_generations` answers to a prompt. A rollout of
`per_device_train_batch_size x processes x steps_per_generation` answers must hold whole groups.
Nothing heavy is imported: `problems` reads a recipe's step, `check_groups` a trainer's arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from hfllm.recipe.recipe import StepSpec
from hfllm.runs.processes import asked_processes

MICRO, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
STEPS, WHOLE = "steps_per_generation", "generation_batch_size"
SHOWN = 8  # numbers that fit, at most


def problems(spec: StepSpec) -> Iterator[str]:
    """The line on groups that do not fill a rollout, from the keys of a recipe's step.

    A batch of which the recipe sets nothing is chosen in whole groups (training/defaults.py).
    """
    given = spec.config.trainer
    if not any(key in given for key in (MICRO, ACCUMULATION, STEPS, WHOLE)):
        return
    values = {ACCUMULATION: 1} | spec.stage.default_values() | given
    steps = values.get(STEPS) or values[ACCUMULATION]
    numbers = (values["num_generations"], values[MICRO], steps)
    if not all(isinstance(n, int) and n > 0 for n in numbers) or values["num_generations"] < 2:
        return  # said by the checks of the trainer's keys
    processes = int(os.environ.get("WORLD_SIZE") or asked_processes(spec.launch_words) or 1)
    whole = values.get(WHOLE)
    if isinstance(whole, int):
        steps = whole // processes // values[MICRO]
    if line := _problem(values["num_generations"], values[MICRO], processes, steps):
        yield f"trainer.{line}"


def check_groups(args: Any) -> None:
    """Check the arguments of a trainer on its processes.

    Raises:
        ValueError: a rollout does not hold whole groups.
    """
    micro, steps = args.per_device_train_batch_size, args.steps_per_generation
    if line := _problem(args.num_generations, micro, args.world_size, steps):
        raise ValueError(line)


def _problem(group: int, micro: int, processes: int, steps: int) -> str | None:
    answers = micro * processes * steps
    if answers % group == 0:
        return None
    fit = [str(n) for n in range(2, answers + 1) if answers % n == 0]
    shown = ", ".join(fit[:SHOWN]) + (", ..." if len(fit) > SHOWN else "")
    more = answers // group * group + group
    return (
        f"num_generations: groups of {group} answers do not fill a rollout of {answers} ({MICRO} "
        f"{micro} x {processes} process(es) x {steps} step(s) of a generation); "
        + (f"use {shown}, or " if fit else "")
        + f"make it {more} answers"
    )

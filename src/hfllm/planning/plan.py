"""Plan the training steps of a recipe: work, FLOPs, memory, time, money, and what would fit.

Everything is arithmetic on the recipe, the model's config and the first bytes of the data; torch is
imported only where the model's sizes cannot be computed otherwise (training/sizes.py), or to ask
this machine what it has.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hfllm.planning import compute
from hfllm.planning.devices import Device, device_called
from hfllm.planning.figures import Plan, Speed, StepPlan, Where
from hfllm.planning.memory import Setup, memory_of
from hfllm.planning.remedies import remedies
from hfllm.planning.strategy import Strategy, strategy_of
from hfllm.planning.values import TrainerValues
from hfllm.planning.work import Work, as_read, work_of
from hfllm.recipe.launch_line import STARTED_BY_RUN
from hfllm.recipe.launcher import launcher_words
from hfllm.recipe.recipe import Recipe
from hfllm.runs.layout import Step
from hfllm.training.defaults import Machine, choose_defaults, this_machine
from hfllm.training.memory import ModelSize


def here(recipe: Recipe, use_cpu: bool = False) -> Where:
    """This machine, as a step would use it; imports torch."""
    machine = this_machine(recipe, use_cpu)
    if not machine.on_gpu:
        return Where("this machine's CPU", machine.memory, machine.bf16, False)
    import torch

    name = torch.cuda.get_device_name(torch.cuda.current_device())
    return Where(name, machine.memory, machine.bf16, True, device_called(name))


def on_device(device: Device, count: int | None) -> Where:
    """So many cards of the table; None: as many as the recipe's `launch:` asks for."""
    return Where(device.name, device.memory, device.bf16, True, device, count)


def plan_recipe(
    recipe: Recipe, names: list[str], where: Where, speeds: dict[str, Speed], default: Speed
) -> Plan:
    """Plan the training steps in `names`.

    Args:
        recipe: a checked recipe.
        names: of training steps.
        where: the devices.
        speeds: measured, of the steps that were probed.
        default: the speed of the others.

    Raises:
        ValueError: a value that a plan cannot be made of (one line).
    """
    plan = Plan(recipe, where)
    for name in names:
        strategy = _strategy(_launch(recipe.steps[name].launch_words), where)
        n = strategy.processes
        memory = where.memory // (1 if where.on_gpu else n)
        machine = Machine(memory, n, where.bf16, where.on_gpu)
        sizes = choose_defaults(recipe, [name], machine)
        step = Step(recipe, recipe.steps[name])
        speed = speeds.get(name, default)
        plan.steps.append(_plan_step(step, sizes[name], strategy, where, speed))
    return plan


def _launch(of_recipe: list[str]) -> list[str]:
    """The options of the launcher: of this process's own launch line, else of the recipe."""
    if STARTED_BY_RUN in os.environ:
        return of_recipe
    return launcher_words() or of_recipe


def _strategy(words: list[str], where: Where) -> Strategy:
    """The strategy asked for; in a process of a launcher, with as many processes as there are."""
    running = os.environ.get("WORLD_SIZE")
    found = strategy_of(words, where.count or (int(running) if running else None))
    return replace(found, assumed=found.assumed and not running)


def _plan_step(
    step: Step, size: ModelSize | None, strategy: Strategy, where: Where, speed: Speed
) -> StepPlan:
    values = TrainerValues(step.spec, where.bf16)
    row = step.stage.row(step.spec)
    work = work_of(step, values, row, strategy.processes)
    states, remark = values.state_bytes
    if getattr(step.spec.config, "optimizer", None) == "muon":
        states, remark = 4.0, "muon keeps 4 bytes a parameter of matrices; the tables' AdamW more"
    remarks = [remark] if remark else []
    flops = memory = None
    found: tuple[str, ...] = ()
    limit = where.memory // (1 if where.on_gpu else strategy.processes)
    if size is None:
        remarks.append(
            "the model's sizes are not known before it is loaded: no FLOPs, no memory, no time"
        )
    elif row is None:
        remarks.append("the stage does not say what a row holds: no FLOPs, no memory, no time")
    else:
        iterations = int(values["num_iterations"] or 1) if row.answer else 1
        each = row.tokens / 2 if work.data.rows and not row.scored else work.row_tokens
        flops = compute.flops_per_token(size, row, min(each, work.row_tokens), iterations)
        setup = setup_of(step, values, states, strategy, where)
        shape = as_read(row, work, where.on_gpu)
        memory = memory_of(size, shape, setup)
        if memory.peak > limit:
            found = remedies(step.name, size, shape, setup, limit)
    step_s, how = _speed(work, flops, strategy, where, values, speed)
    total = None if step_s is None or work.steps is None else step_s * work.steps
    if total is not None:
        total += speed.startup_s + speed.eval_s * _evaluations(values, work.steps or 0)
    return StepPlan(step, strategy, values, work, size, row, flops, memory, limit, total, step_s,
                    how, speed.peak, found, tuple(remarks))  # fmt: skip


def _evaluations(values: TrainerValues, steps: int) -> int:
    """How often held-out rows are evaluated: every `eval_steps`, and at the end."""
    strategy, every = str(values.values.get("eval_strategy")), values.values.get("eval_steps")
    every = every or values.values.get("logging_steps")
    if strategy == "steps" and isinstance(every, int) and every > 0:
        return steps // every + bool(steps % every)
    return 1


def setup_of(
    step: Step, values: TrainerValues, states: float, strategy: Strategy, where: Where
) -> Setup:
    """How the step trains, as far as its memory depends on it."""
    config = step.spec.config
    model = getattr(config, "model", None) or {}
    attention = config.attn_implementation or model.get("attn_implementation")
    quantization = getattr(config, "quantization", None) or {}
    return Setup(
        rows=values.micro,
        half=values.half,
        checkpointing=values.checkpointing,
        accumulates=values.accumulation > 1,
        on_gpu=where.on_gpu,
        state_bytes=states,
        eager=attention == "eager",
        quantized=bool(quantization.get("load_in_4bit")),
        sampled=values.sampled,
        sampling_copy=bool(values.values.get("generate_dtype")),
        strategy=strategy,
    )


def _speed(
    work: Work,
    flops: compute.Flops | None,
    strategy: Strategy,
    where: Where,
    values: TrainerValues,
    speed: Speed,
) -> tuple[float | None, str]:
    """Seconds of an optimizer step, and where they come from."""
    if speed.step_s is not None:
        return speed.step_s, "measured"
    if where.device is None:
        what = "a CPU's speed" if not where.on_gpu else f"{where.name}'s peak"
        return None, f"unknown: {what} is not in the table; --probe measures it"
    if flops is None:
        return None, "unknown: no FLOPs"
    each = flops.total * work.rows_per_step * work.row_tokens
    found = compute.seconds(each, where.device, strategy.processes, speed.mfu, values.half)
    kind = "bf16" if values.half and where.device.bf16 else "fp16" if values.half else "float32"
    share = f"{speed.mfu:.0%} of the {kind} peak"
    return found, f"at {share}, " + ("assumed" if speed.is_assumed else "as given")

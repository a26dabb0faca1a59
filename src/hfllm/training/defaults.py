"""Choose trainer values from the model and the machine: micro-batch, accumulation, learning rate.

Rows of an optimizer step: the stage's default batch, on any number of processes; where they cannot
share it evenly, the next multiple. They pass in the largest micro-batches whose estimated peak
(memory.py) stays within a budget, so accumulation changes the memory, not the batch:

- on a GPU: GPU_SHARE of its memory, because larger micro-batches are faster there
- on a CPU: CPU_BUDGET, and CPU_SHARE of what the machine or its control group allows: from a few
  hundred tokens on, larger micro-batches are no faster there (docs/benchmarks.md). What is free at
  the moment does not count: the sums of a resumed run must be those of a straight one

Learning rate: the stage's default for models of at most SMALL_MODEL parameters, above it the
stage's `rates`. Keys that the recipe sets are never changed, and a batch of which it sets a part is
left to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import Default, Stage
from hfllm.recipe.trainers import hardware_defaults, launch_asks
from hfllm.recipe.training import SMALL_MODEL
from hfllm.runs.machine import memory_limit
from hfllm.runs.pipeline import launcher_options
from hfllm.runs.processes import asked_processes
from hfllm.training.memory import GIB, ModelSize, Training, in_gib, model_size, peak_bytes
from hfllm.training.sizes import arithmetic_size, light_config

CPU_BUDGET, CPU_SHARE, GPU_SHARE = 5 * GIB, 0.7, 0.8
MICRO, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
# keys that set the batch: where the recipe has one of them, it has thought about the others
BATCH = (
    MICRO,
    ACCUMULATION,
    "auto_find_batch_size",
    "steps_per_generation",
    "generation_batch_size",
)


@dataclass(frozen=True)
class Machine:
    """What the choice depends on besides the recipe: memory of a process, processes, precision."""

    memory: int  # bytes that one process may use
    processes: int
    bf16: bool
    on_gpu: bool

    @property
    def budget(self) -> int:
        """Bytes that a training step may take."""
        if self.on_gpu:
            return int(GPU_SHARE * self.memory)
        return min(CPU_BUDGET, int(CPU_SHARE * self.memory))


def this_machine(recipe: Recipe, use_cpu: bool = False) -> Machine:
    """The machine of this process, and the processes that it has or that the recipe launches.

    `use_cpu`: the step leaves a GPU alone.
    """
    found = hardware_defaults()
    on_gpu = not (use_cpu or found["use_cpu"])
    words = launcher_options(recipe.launch)
    processes = int(os.environ.get("WORLD_SIZE") or asked_processes(words) or 1)
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or processes)
    memory = memory_limit(on_gpu) // (1 if on_gpu else here)
    return Machine(memory, processes, bool(found["bf16"]), on_gpu)


def choose_defaults(
    recipe: Recipe, names: list[str], machine: Machine | None = None, fetch: bool = False
) -> dict[str, ModelSize | None]:
    """Fill `chosen` of the training steps in `names`; return the sizes of their models.

    Args:
        recipe: a checked recipe.
        names: steps; those that do not train are left as they are.
        machine: what to choose for; default: this one.
        fetch: a hub id's config may be downloaded, because its model is loaded next.
    """
    specs = [recipe.steps[name] for name in names if recipe.steps[name].stage.trains]
    sizes = {spec.name: size_of(recipe, spec, fetch) for spec in specs}
    for spec in specs:
        size, use_cpu = sizes[spec.name], bool(spec.config.trainer.get("use_cpu"))
        here = machine or this_machine(recipe, use_cpu)
        spec.chosen = _batch(spec, size, here) | _rate(spec, size)
    return sizes


def chosen_lines(spec: StepSpec) -> list[str]:
    """What was chosen for a step, a line for each reason."""
    keys: dict[str, list[str]] = {}
    for key, (value, reason) in spec.chosen.items():
        keys.setdefault(reason, []).append(f"{key} {value}")
    return [f"{', '.join(values)}: {reason}" for reason, values in keys.items()]


def size_of(recipe: Recipe, spec: StepSpec, fetch: bool = False) -> ModelSize | None:
    """The sizes of the model that a step trains; None where they are not known before it runs."""
    light = light_config(recipe, spec)
    if light and (size := arithmetic_size(light, spec.config.peft)):
        return size
    from hfllm.modeling.start_config import start_config  # torch: seconds

    try:
        config = start_config(recipe, spec, fetch)
        return None if config is None else model_size(config, spec.config.peft)
    except (ValueError, AttributeError):  # said by the checks before a run, or by the loading
        return None


def _batch(spec: StepSpec, size: ModelSize | None, machine: Machine) -> dict[str, Default]:
    given = {one.key: one.value for one in launch_asks(spec)} | spec.config.trainer
    stage = spec.stage
    default = stage.default_values().get(MICRO)
    if default is None or any(key in given for key in BATCH):
        return {}
    share = -(-default // machine.processes)
    row = stage.row(spec)
    while row is not None and share * machine.processes % max(row.together, 1):
        share += 1  # whole groups
    rows, needs = share, ""
    if size is not None and row is not None:
        values = (_bf16(given, machine), _checkpointing(stage, given), machine.on_gpu)
        divisors = [n for n in range(share, 0, -1) if share % n == 0]
        peaks = {n: peak_bytes(size, row, n, Training(*values, n < share)) for n in divisors}
        rows = next((n for n in divisors if peaks[n] <= machine.budget), 1)
        needs = _reason(peaks, rows, share, machine)
    if rows == default:
        return {}
    of = f" on {machine.processes} processes" if machine.processes > 1 else ""
    batch = f"{share * machine.processes} rows a step{of}"
    reason = f"{batch}{needs}"
    return {MICRO: (rows, reason), ACCUMULATION: (share // rows, reason)}


def _reason(peaks: dict[int, int], rows: int, share: int, machine: Machine) -> str:
    if rows == share:
        return ""
    place = "GPU" if machine.on_gpu else "CPU"
    return (
        f"; {in_gib(peaks[share])} at once, {in_gib(peaks[rows])} by {rows} "
        f"(estimates; {in_gib(machine.budget)} are allowed on this {place})"
    )


def _bf16(given: dict[str, Any], machine: Machine) -> bool:
    return bool(given.get("bf16", machine.bf16) or given.get("fp16", False))


def _checkpointing(stage: Stage, given: dict[str, Any]) -> bool:
    values = stage.default_values() | given
    return any(bool(values.get(key)) for key in CHECKPOINTING)


def _rate(spec: StepSpec, size: ModelSize | None) -> dict[str, Default]:
    if size is None or "learning_rate" in spec.config.trainer or size.parameters <= SMALL_MODEL:
        return {}
    for rate in spec.stage.rates:
        if size.parameters <= rate.up_to:
            value = rate.lora if size.adapter else rate.full
            what = "an adapter on" if size.adapter else "all weights of"
            reason = f"for {what} {size.parameters / 1e6:,.0f}M parameters (docs/defaults.md)"
            return {"learning_rate": (value, reason)}
    return {}

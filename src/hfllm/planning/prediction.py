"""What a training step is expected to take, said before it begins and kept in its manifest.

The page and the model card show it beside what was measured (report/view/costs.py).
"""

from __future__ import annotations

from hfllm.planning.figures import Speed, StepPlan, Where
from hfllm.planning.plan import here, plan_recipe
from hfllm.planning.speeds import recall
from hfllm.planning.text import parts_words, time_words
from hfllm.runs.layout import Step
from hfllm.runs.machine import free_memory
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process
from hfllm.runs.progress_format import scientific
from hfllm.training.memory import GIB


def predict(step: Step, manifest: Manifest) -> None:
    """Print the expected memory, FLOPs and time of a step, and keep them in its manifest.

    In the main process alone. What cannot be planned is left to the step, which says what is wrong.
    """
    if not is_main_process():
        return
    where = here(step.recipe, bool(step.spec.config.trainer.get("use_cpu")))
    try:
        (one,) = plan_recipe(step.recipe, [step.name], where, {}, Speed()).steps
        if speed := recall(one, where):
            (one,) = plan_recipe(step.recipe, [step.name], where, {step.name: speed}, speed).steps
    except (ValueError, OSError):  # a wrong value or file: the step's own checks name it
        return
    manifest.prediction = one.to_json()
    manifest.write(step.manifest)
    for line in expected_lines(one, where):
        print(f"{step.name}: {line}", flush=True)


def expected_lines(one: StepPlan, where: Where) -> list[str]:
    """A line on memory, with a warning where less is free, and one on FLOPs and time."""
    lines = []
    if one.memory is not None:
        lines.append(_memory_line(one, where))
    if one.total_flops is not None:
        known = one.step_seconds is not None
        time = f"; time: {time_words(one, None)}" if known else ""
        lines.append(f"expected work: {scientific(one.total_flops)} FLOPs{time}")
    return lines


def _memory_line(one: StepPlan, where: Where) -> str:
    assert one.memory is not None
    each = " a process" if one.strategy.processes > 1 else ""
    peak, limit = one.memory.peak, one.limit
    line = f"expected memory{each}: about {peak / GIB:.1f} GiB of {limit / GIB:.1f}: "
    line += parts_words(one.memory)
    free = free_memory(where.on_gpu)
    if peak > free:
        line += f"; only {free / GIB:.1f} GiB are free: if it does not fit, " + (
            one.remedies[0] if one.remedies else "lower trainer.per_device_train_batch_size"
        )
    return line

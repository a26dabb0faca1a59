"""Run a few optimizer steps of a step in a folder apart, and measure them.

The folder is temporary; the finished steps that the step needs are links in it, so that nothing of
the run folder is written. The run is the step's own command with fewer steps, its evaluation and
its saving included, so that what a step's process does besides its optimizer steps is measured too.

Seconds a step are the mean of those after the first cycle, where the libraries warm up. A cycle is
one step, or for a stage that samples answers the steps from one rollout to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hfllm.planning.figures import Speed, StepPlan
from hfllm.recipe.graph import ancestors
from hfllm.recipe.launch_line import STARTED_BY_RUN
from hfllm.recipe.load import load_recipe
from hfllm.recipe.paths import shown
from hfllm.runs.layout import Step, step_named
from hfllm.runs.manifest import Manifest
from hfllm.runs.pipeline import KEEP_ALL, MALLOC, command_of
from hfllm.runs.status import status

STEPS = 3
SAID = 12  # lines of a failed probe that are shown


def probe(one: StepPlan) -> Speed:
    """The measured speed of a planned step on this machine.

    Raises:
        ValueError: a step that it needs has not run, or the probe failed (with its last lines).
    """
    step = one.step
    _check_parents(step)
    cycle = _cycle(one)
    count = STEPS if cycle == 1 else 2 * cycle
    with tempfile.TemporaryDirectory(prefix="hfllm-probe-") as place:
        apart = _apart(step, Path(place), count)
        _run(apart)
        manifest = Manifest.read(apart.manifest)
        rows = [json.loads(line) for line in apart.metrics.read_text().splitlines()]
    assert manifest is not None
    return _speed(rows, manifest, cycle, count)


def _check_parents(step: Step) -> None:
    for name in ancestors(step.recipe.steps, step.name):
        now = status(step.other(name))
        if not now.is_done:
            raise ValueError(
                f"--probe: '{step.name}' needs '{name}', which is {now.state} ({now.reason}): run "
                f"`{step.command(only=name)}` first, or probe '{name}'"
            )


def _cycle(one: StepPlan) -> int:
    """Optimizer steps from one rollout to the next; 1 where nothing is sampled."""
    if one.row is None or not one.row.answer:
        return 1
    per_rollout = one.values.sampled // one.values.micro
    iterations = one.values["num_iterations"] or 1
    return max(1, per_rollout * int(iterations) // one.values.accumulation)


def _apart(step: Step, place: Path, count: int) -> Step:
    """The step in a run folder of its own, with links to the steps that it needs."""
    recipe, trainer = step.recipe, f"{step.name}.trainer"
    few = [f"{trainer}.max_steps={count}", f"{trainer}.logging_steps=1"]
    few += [f"{trainer}.save_strategy=no", f"{trainer}.report_to=none"]
    few += [f"run_dir={place}", f"name={recipe.name}"]
    found = load_recipe(recipe.path, recipe.stages, [*recipe.overrides, *few])
    found.run_dir.mkdir(parents=True)
    for name in ancestors(recipe.steps, step.name):
        folder = step.other(name).folder.resolve()
        (found.run_dir / name).symlink_to(folder, target_is_directory=True)
    return step_named(found, step.name)


def _run(step: Step) -> None:
    keep = KEEP_ALL if step.stage.fixed_shapes else {}
    env = {**MALLOC, **keep, **os.environ, "PYTHONUNBUFFERED": "1", STARTED_BY_RUN: "1"}
    done = subprocess.run(
        command_of(step), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    manifest = None
    with suppress(ValueError):
        manifest = Manifest.read(step.manifest)
    if done.returncode or manifest is None or manifest.status != "done":
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")] or lines[-SAID:]
        said = "\n".join(line.removeprefix("error: ") for line in errors)
        raise ValueError(f"--probe: '{step.name}' failed ({shown(step.folder)}):\n{said}")


def _speed(rows: list[dict[str, Any]], manifest: Manifest, cycle: int, count: int) -> Speed:
    """Seconds of a step, of an evaluation, and of everything else, from a probe's log."""
    at = {row["step"]: row["time_s"] for row in rows if "loss" in row}
    evaluations = [row["eval_runtime"] for row in rows if "eval_runtime" in row]
    within = sum(evaluations[:-1])  # the last one comes after the last step
    step_s = (at[count] - at[cycle] - within) / (count - cycle)
    eval_s = sum(evaluations) / len(evaluations) if evaluations else 0.0
    # The first cycle compiles and allocates: what it takes longer is part of the start.
    trained = step_s * count + sum(evaluations)
    startup = max(0.0, manifest.wall_s - trained)
    return Speed(step_s=step_s, startup_s=startup, eval_s=eval_s, peak=manifest.peak_memory_gb)

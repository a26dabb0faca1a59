"""`hfllm run`: the missing and stale steps of a recipe, in order, each in a process of its own.

A training step is started as `accelerate launch -m hfllm.launch RECIPE --step NAME`, the same code
path as the user's own cluster job; a data step as `python -m hfllm.launch ...`. A process of
its own costs a few seconds of imports and gives every step its whole memory back, a peak that is
its own, and a crash that ends nothing else. The same command continues an interrupted run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from omegaconf import OmegaConf
from rich.console import Console

from hfllm.recipe.graph import ancestors
from hfllm.recipe.recipe import Recipe
from hfllm.runs.layout import Step, step_named
from hfllm.runs.lock import run_lock
from hfllm.runs.manifest import write_atomically
from hfllm.runs.preflight import preflight
from hfllm.runs.processes import step_processes
from hfllm.runs.status import Status, recipe_statuses, status

# glibc returns freed tensors to the system and asks for them again, step after step; keeping them
# made CPU training 5-18% faster. Where shapes differ from step to step, large blocks that are kept
# leave holes that no other fits in: PPO on SmolLM2 grew by 2 GB a rollout, so those of 32 MB and
# more (its highest threshold) go back. Pretraining's shapes are all the same: it keeps every block
# (docs/log.md). To be set before the process starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
KEEP_ALL = {"MALLOC_MMAP_MAX_": "0"}


class StepFailed(ValueError):
    """A step's process ended with an error (its own message is above)."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True)
class Planned:
    """One line of the plan: run or skip, and why."""

    step: Step
    action: str  # run | skip
    status: Status


def plan(recipe: Recipe, only: str | None = None, start: str | None = None) -> list[Planned]:
    """What `run` would do. `only`: that step (its parents must be done); `start`: it and all after.

    Raises ValueError for an unknown step or an `only` whose parents are not done.
    """
    if only and start:
        raise ValueError("give --only or --from, not both")
    statuses = recipe_statuses(recipe)
    for name in (only, start):
        if name:
            step_named(recipe, name)
    if only:
        for parent in ancestors(recipe.steps, only):
            if not statuses[parent].is_done:
                step = step_named(recipe, parent)
                raise ValueError(
                    f"{recipe.path}: '{only}' needs '{parent}', which is {statuses[parent].state} "
                    f"({statuses[parent].reason}) in {step.folder}: run "
                    f"`{step.command(only=parent)}` first, or leave --only out"
                )
    out = []
    for name, spec in recipe.steps.items():
        forced = name == only or (start is not None and _at_or_after(recipe, name, start))
        wanted = (name == only) if only else (forced or not statuses[name].is_done)
        out.append(Planned(Step(recipe, spec), "run" if wanted else "skip", statuses[name]))
    return out


def _at_or_after(recipe: Recipe, name: str, start: str) -> bool:
    return name == start or start in ancestors(recipe.steps, name)


def run_recipe(
    recipe: Recipe, only: str | None = None, start: str | None = None, dry_run: bool = False
) -> None:
    """Check, plan, and run; prints one line per step. Raises ValueError or StepFailed."""
    console = Console(highlight=False, soft_wrap=True)
    steps = plan(recipe, only, start)
    todo = [item.step.name for item in steps if item.action == "run"]
    preflight(recipe, todo)
    forced = {only} if only else {n for n in todo if start and _at_or_after(recipe, n, start)}
    for item in steps:
        because = "asked for" if item.step.name in forced else item.status.reason
        console.print(f"{item.action:>4}  {item.step.name:<12} {because}", markup=False)
        if dry_run and item.action == "run":
            console.print(f"      {' '.join(command_of(item.step))}", markup=False)
    if dry_run:
        return
    with _signals_as_exits(), run_lock(recipe.run_dir) as lock:
        write_atomically(recipe.run_dir / "config.yaml", OmegaConf.to_yaml(recipe.resolved))
        done = 0
        for item in steps:
            name = item.step.name
            if item.action == "skip":
                if only or not done or (now := status(item.step)).is_done:
                    continue
                console.print(f"\n run  {name:<12} {now.reason}", markup=False)
                todo.append(name)  # a parent came out different in this run
            done += 1
            console.print(f"\n[{done}/{len(todo)}] {name}", style="bold", markup=False)
            begin = time.monotonic()
            _run_step(item.step, name in forced, lock)
            console.print(f"      {name} done in {time.monotonic() - begin:.0f} s", markup=False)


def command_of(step: Step) -> list[str]:
    """The command line that runs a step."""
    words = ["-m", "hfllm.launch", str(step.recipe.path), "--step", step.name]
    words += step.recipe.overrides
    if not step.stage.trains:
        return [sys.executable, *words]
    options = step.recipe.launch.get("accelerate_args") or default_launch(step.recipe.launch)
    return [sys.executable, "-m", "accelerate.commands.launch", *map(str, options), *words]


def default_launch(launch: dict[str, Any]) -> list[str]:
    """accelerate's options: the recipe's `launch.config` file, else one plain process."""
    quiet = "--quiet"  # no stack trace of the launcher's own below the step's error
    if launch.get("config"):
        return [quiet, "--config_file", str(launch["config"])]
    return [quiet, "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no",
            "--dynamo_backend", "no"]  # fmt: skip


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """SIGTERM and the end of the terminal unwind as Ctrl-C does: the step is told, not orphaned."""

    def leave(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_step(step: Step, forced: bool, lock: int | None) -> None:
    """In a process group of its own: Ctrl-C in a terminal reaches this process alone."""
    keep = KEEP_ALL if step.stage.fixed_shapes else {}
    env = {**MALLOC, **keep, **os.environ, "PYTHONUNBUFFERED": "1"}
    env.setdefault("TOKENIZERS_PARALLELISM", "true")
    if forced:
        env["HFLLM_FORCE"] = step.name
    process = subprocess.Popen(
        command_of(step),
        env=env,
        stdin=subprocess.DEVNULL,
        pass_fds=() if lock is None else (lock,),
        process_group=0,
    )
    try:
        code = process.wait()
    except BaseException:  # Ctrl-C or SIGTERM
        _stop(process)
        raise
    if code:
        raise StepFailed(
            f"step '{step.name}' ended with exit code {code}; the same command goes on from there: "
            f"{step.command()}",
            exit_code=code if 0 < code < 256 else 1,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Have the step save a checkpoint and end, and wait for it; a second Ctrl-C ends it at once.

    Schedulers and `timeout` signal the group and each process of it: the second signal may come
    while the first is passed on, and must not leave the step behind.
    """
    while process.poll() is None:
        try:
            for worker in step_processes(process.pid):
                worker.send_signal(signal.SIGTERM)
            process.wait()
        except (KeyboardInterrupt, SystemExit):
            continue

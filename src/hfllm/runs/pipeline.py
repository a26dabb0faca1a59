"""`hfllm run`: run the missing and stale steps of a recipe in order, each in its own process.

A training step is started as `accelerate launch -m hfllm.launch RECIPE --step NAME`, the code path
of a cluster job too; any other step as `python -m hfllm.launch ...`. A process per step costs a few
seconds of imports; in return a step's memory is freed at its end, its peak memory is measured
alone, and a crash ends no other step. Rerunning the same command resumes an interrupted run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from omegaconf import OmegaConf
from rich.console import Console

from hfllm.recipe.graph import ancestors
from hfllm.recipe.launch_line import STARTED_BY_RUN
from hfllm.recipe.load import launch_words
from hfllm.recipe.recipe import Recipe
from hfllm.runs.checkpoints import newest_complete
from hfllm.runs.closing_line import closing_line
from hfllm.runs.layout import Step, step_named
from hfllm.runs.lock import run_lock
from hfllm.runs.manifest import Manifest, write_atomically
from hfllm.runs.preflight import preflight, unread_rows
from hfllm.runs.processes import step_processes
from hfllm.runs.quiet import quiet_libraries
from hfllm.runs.set_aside import restore
from hfllm.runs.status import Status, recipe_statuses, status

# glibc returns the memory of freed tensors to the system and requests it again in every training
# step; keeping it made CPU training 5-18% faster. If shapes differ between steps, kept large blocks
# fragment the heap: PPO on SmolLM2 grew by 2 GB a rollout. So blocks of 32 MB and more (glibc's
# highest threshold) are returned, unless the stage has `fixed_shapes` (docs/log.md). glibc reads
# these variables when a process starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
KEEP_ALL = {"MALLOC_MMAP_MAX_": "0"}


class StepFailed(ValueError):
    """A step's process ended with an error, which it has printed itself."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True)
class Planned:
    """One step of the plan: run or skip, and the status that is the reason."""

    step: Step
    action: str  # run | skip
    status: Status


def plan(recipe: Recipe, only: str | None = None, start: str | None = None) -> list[Planned]:
    """Decide for every step whether to run or to skip it, in running order.

    Args:
        recipe: a checked recipe.
        only: run this step alone, even if it is done; its parents must be done.
        start: run this step and all that depend on it, even if they are done.

    Raises:
        ValueError: both are given, a step is unknown, or a parent of `only` is not done.
    """
    if only and start:
        raise ValueError("give --only or --from, not both")
    statuses = recipe_statuses(recipe)
    for name in (only, start):
        if name is not None:
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
) -> list[str]:
    """Plan, check the steps that will run, and run them; prints one line per step.

    Returns the names of the steps that were to run.

    Args:
        recipe, only, start: as in `plan`.
        dry_run: stop after the checks; print the plan and the commands.

    Raises:
        ValueError: as `plan` does, or RecipeError with the problems that `preflight` found.
        StepFailed: a step's process ended with an error; no later step is started.
    """
    console = Console(highlight=False, soft_wrap=True)
    steps = plan(recipe, only, start)
    todo = [item.step.name for item in steps if item.action == "run"]
    quiet_libraries()
    preflight(recipe, todo, with_rows=True)
    forced = {only} if only else {n for n in todo if start and _at_or_after(recipe, n, start)}
    for item in steps:
        reason = "asked for" if item.step.name in forced else item.status.reason
        if item.action == "skip" and not item.status.is_done:
            reason = f"not asked for ({reason})"
        console.print(f"{item.action:>4}  {item.step.name:<12} {reason}", markup=False)
        if dry_run and item.action == "run":
            console.print(f"      {' '.join(command_of(item.step))}", markup=False)
    if dry_run:
        if line := unread_rows(recipe, todo):
            console.print(line, markup=False)
        return todo
    with _signals_as_exits(), run_lock(recipe.run_dir) as lock:
        write_atomically(recipe.run_dir / "config.yaml", OmegaConf.to_yaml(recipe.resolved))
        done = 0
        for item in steps:
            name = item.step.name
            if item.action == "skip":
                if only or not done or (now := status(item.step)).is_done:
                    continue
                console.print(f"\n run  {name:<12} {now.reason}", markup=False)
                todo.append(name)  # a parent's artifact changed in this run
            done += 1
            console.print(f"\n[{done}/{len(todo)}] {name}", style="bold", markup=False)
            if name not in forced and (copy := restore(item.step)):
                console.print(f"{name}: finished before with these keys; put back from {copy}")
                continue
            _run_step(item.step, name in forced, lock)
    if line := closing_line(recipe):
        console.print(f"\n{line}", markup=False)
    return todo


def command_of(step: Step) -> list[str]:
    """The command line that runs a step."""
    words = ["-m", "hfllm.launch", str(step.recipe.path), "--step", step.name]
    words += step.recipe.overrides
    if not step.stage.trains:
        return [sys.executable, *words]
    options = launcher_options(step.recipe.launch)
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *words]


def launcher_options(launch: dict[str, Any]) -> list[str]:
    """accelerate's options: those of the recipe's `launch:`, else those of one process."""
    words = launch_words(launch)
    if launch.get("accelerate_args"):
        return words
    quiet = "--quiet"  # the launcher prints no stack trace of its own after a step's error
    if words:
        return [quiet, *words]
    return [quiet, "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no",
            "--dynamo_backend", "no"]  # fmt: skip


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that `_run_step` stops the step's process too."""

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
    """Run a step's process, in its own process group: Ctrl-C in a terminal reaches only ours."""
    keep = KEEP_ALL if step.stage.fixed_shapes else {}
    env = {**MALLOC, **keep, **os.environ, "PYTHONUNBUFFERED": "1", STARTED_BY_RUN: "1"}
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
    except (KeyboardInterrupt, SystemExit) as error:  # Ctrl-C; SIGTERM, SIGHUP
        _stop(process)
        number = error.code if isinstance(error, SystemExit) else 128 + signal.SIGINT
        raise StepFailed(_interrupted(step), exit_code=int(number or 0)) from None
    manifest = Manifest.read(step.manifest)
    if code or manifest is None or manifest.status != "done":  # user code may end it with 0
        raise StepFailed(_how_it_ended(step, code), exit_code=code if 0 < code < 256 else 1)


def _interrupted(step: Step) -> str:
    """What to say after a signal; names the checkpoint from which the step will resume."""
    kept, _ = newest_complete(step.checkpoints)
    return "interrupted; rerun the same command to resume" + (f" from {kept}" if kept else "")


def _how_it_ended(step: Step, code: int) -> str:
    """What to say after a step's process failed: nothing if it has told its error itself."""
    now, name = status(step).state, f"step '{step.name}'"
    if now == "failed":
        return ""
    if now == "interrupted":  # it had no time for a word
        return (
            f"{name} was stopped (exit code {code}; without a word above, the system may have run "
            f"out of memory); rerun the same command to resume: {step.command()}"
        )
    return f"{name} ended with exit code {code} before it began; then: {step.command()}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the step, which saves a checkpoint and ends, and wait for it.

    A second Ctrl-C sends it again, and the step then ends at once. Schedulers and `timeout` signal
    the group and each process in it, so a second signal may arrive here while the first is passed
    on; it must not leave the step running.
    """
    while process.poll() is None:
        try:
            for worker in step_processes(process.pid):
                worker.send_signal(signal.SIGTERM)
            process.wait()
        except (KeyboardInterrupt, SystemExit):
            continue

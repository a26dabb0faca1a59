"""What launch/*.py and `hfllm run` call: one step of a recipe, in this process.

    accelerate launch launch/sft.py RECIPE [--step NAME] [step.key=value ...]

Order: arguments -> recipe and checks -> the launch line (did it start as many processes as it
says?) -> parents (missing data steps are made by the main process, the others wait for the
manifest; a missing model is refused with the next command) -> the stage's `run`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from hfllm.recipe.errors import first_line
from hfllm.recipe.graph import ancestors
from hfllm.recipe.load import Recipe, load_recipe
from hfllm.runs.layout import LAUNCHED, Step, overrides_of, step_named
from hfllm.runs.lock import run_lock
from hfllm.runs.preflight import preflight
from hfllm.runs.processes import (
    WAIT_SECONDS,
    check_launch_line,
    is_main_process,
    rank,
    use_all_cores,
    use_one_gpu,
)
from hfllm.runs.quiet import quiet_libraries
from hfllm.runs.status import set_aside, status

DEFAULT_RECIPE = "configs/demo.yaml"
GOES_ON = ("interrupted", "failed")  # with the checkpoints that are there, forced or not


def main(stage: str, argv: list[str] | None = None) -> None:
    """Run the stage's step of a recipe; one clear line and exit code 1 on the user's mistakes."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        print(f"{(__doc__ or '').strip()}\n\nstage: {stage}; default recipe: {DEFAULT_RECIPE}")
        return
    quiet_libraries()
    use_all_cores()
    use_one_gpu()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        recipe, name = _arguments(stage, words)
        run_step(step_named(recipe, name))
        _wait_for_all()
    except ValueError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from the last checkpoint", 130)
    except OSError as error:
        if error.errno != 28:
            raise
        _fail(f"the disk is full ({error.filename or 'while writing'}); free some and run again")
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        _fail(
            f"out of memory ({first_line(error)}): lower trainer.per_device_train_batch_"
            "size (and raise trainer.gradient_accumulation_steps by as much), data.seq_len or the "
            "model's sizes, or set trainer.activation_checkpointing=true"
        )
    finally:
        _end_process_group()


def _fail(message: str, code: int = 1) -> NoReturn:
    if is_main_process():
        for line in message.splitlines():
            print(f"error: {line}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def _out_of_memory(error: Exception) -> bool:
    """torch's own class on a GPU, a plain RuntimeError of its allocator on a CPU."""
    names = (type(error).__name__, str(error))
    return isinstance(error, MemoryError) or any(
        word in name for name in names for word in ("OutOfMemoryError", "allocate memory")
    )


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(143)  # outside training; inside, StopOnSignal takes over


def _wait_for_all() -> None:
    """No process leaves while another still works.

    A process that ended badly would take the main one with it while that one writes the manifest
    (the launcher stops all), and gloo's thread, where it is still dropping the tensors of the last
    collective when Python is taken down, aborts its process (CPython before 3.14: a thread that
    waits for the GIL then is unwound through a destructor). A barrier holds no tensors, and waits
    without the GIL.
    """
    if distributed := _standing_group():
        with suppress(RuntimeError):  # another one has ended badly, and says why itself
            distributed.barrier()


def _end_process_group() -> None:
    """DeepSpeed and gloo abort now and then where the group is left standing at exit."""
    if distributed := _standing_group():
        distributed.destroy_process_group()


def _standing_group() -> ModuleType | None:
    """torch.distributed where this process is in a group (and so has imported it)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def _arguments(stage: str, words: list[str]) -> tuple[Recipe, str]:
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
    path = Path(files[0] if files else DEFAULT_RECIPE)
    recipe = load_recipe(path, [w for w in words if "=" in w])
    name = chosen or recipe.step_of_stage(stage)
    if name is None:
        steps = ", ".join(recipe.steps)
        raise ValueError(f"{path}: no step of stage '{stage}'; the recipe has {steps}")
    step = step_named(recipe, name)
    if step.stage != stage:
        raise ValueError(f"{path}: step '{name}' is of stage '{step.stage}', not '{stage}'")
    return recipe, name


def run_step(step: Step) -> None:
    """Check, make what is missing of the data, and run the step unless it is done."""
    check_launch_line()
    preflight(step.recipe, [step.name])
    forced = os.environ.get("HFLLM_FORCE") == step.name
    now = status(step)
    if now.is_done and not forced:
        if is_main_process():
            print(f"{step.name}: {now.reason}; nothing to do", flush=True)
        return
    if not is_main_process():
        wait_for_parents(step)
        _run_on_another_rank(step)
        return
    with run_lock(step.recipe.run_dir):
        prepare_parents(step)
        now = status(step)  # a parent that was made just now may have come out different
        if step.folder.is_dir() and (now.state == "stale" or forced and now.state not in GOES_ON):
            print(f"{step.name}: {now.reason}; the old one is in {set_aside(step)}", flush=True)
        _run_stage(step)


def _run_on_another_rank(step: Step) -> None:
    """Silent where the main process fails too, which says why; what happens here alone is told."""
    begun = time.time()
    try:
        _run_stage(step)
    except Exception as error:
        if not _main_failed(step, begun):
            print(f"error: process {rank()}: {first_line(error)}", file=sys.stderr, flush=True)
        raise


def _main_failed(step: Step, since: float, polls: int = 10) -> bool:
    """Whether the main process has written down that the step failed, within 5 seconds."""
    for _ in range(polls):
        there = step.manifest.exists() and step.manifest.stat().st_mtime > since - 1
        if there and status(step).state == "failed":
            return True
        time.sleep(0.5)
    return False


def _run_stage(step: Step) -> None:
    stage = importlib.import_module(f"hfllm.stages.{step.stage}")
    stage.run(step.spec.config, step)


def prepare_parents(step: Step) -> None:
    """Run missing data steps here; refuse where a model step is missing or stale."""
    for name in ancestors(step.recipe.steps, step.name):
        parent = step.other(name)
        now = status(parent)
        if now.is_done or step.stage == "report":
            continue
        if parent.stage in LAUNCHED or parent.stage == "evaluate":
            raise ValueError(
                f"{step.name}: its parent '{name}' is {now.state} ({now.reason}): "
                f"run `{step.command(only=name)}` or "
                f"`accelerate launch launch/{parent.stage}.py {step.recipe.path} --step {name}"
                f"{overrides_of(step.recipe)}` first"
            )
        if now.state == "stale":
            set_aside(parent)
        print(f"{step.name}: making its parent '{name}' first ({now.reason})", flush=True)
        _run_stage(parent)


def wait_for_parents(step: Step, poll_s: float = 0.5, timeout_s: float = WAIT_SECONDS) -> None:
    """Other ranks: until the main process has made what is missing, or has given up."""
    begun, deadline = time.time(), time.monotonic() + timeout_s
    for name in ancestors(step.recipe.steps, step.name):
        parent = step.other(name)
        while not status(parent).is_done:
            now = status(parent)
            failed = now.state == "failed" and parent.manifest.stat().st_mtime > begun - 1
            if failed or (parent.stage in LAUNCHED and now.state != "interrupted"):
                raise ValueError(f"{step.name}: its parent '{name}' is {now.state}")
            if time.monotonic() > deadline:
                raise ValueError(f"{step.name}: waited {timeout_s:.0f} s for '{name}'")
            time.sleep(poll_s)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        _fail("usage: python -m hfllm.launch STAGE RECIPE [--step NAME] [step.key=value ...]")
    main(sys.argv[1], sys.argv[2:])

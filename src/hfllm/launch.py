"""Run one step of a recipe in this process; launch/*.py and `hfllm run` call this module.

    accelerate launch launch/stage.py RECIPE --step NAME [step.key=value ...]
    accelerate launch launch/sft.py RECIPE [--step NAME] [step.key=value ...]

Order: read the arguments and the recipe -> check the launch line (were as many processes started as
it asks for?), HFLLM_SLOW and the step -> parents: the main process makes missing data steps, the
other processes wait for their manifests; a missing model is an error that names the command to run
-> the stage's `build` and `fit`, or its `run`, inside `recording`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from typing import NoReturn

from hfllm.data.ledger import Ledger
from hfllm.fast_cpu import SWITCH, switched_off
from hfllm.recipe.errors import first_line
from hfllm.recipe.graph import ancestors
from hfllm.recipe.launch_line import STARTED_BY_RUN
from hfllm.runs.arguments import arguments, usage
from hfllm.runs.layout import Step, overrides_of, step_named
from hfllm.runs.lock import run_lock
from hfllm.runs.outputs import check_parents
from hfllm.runs.preflight import preflight
from hfllm.runs.processes import (
    WAIT_SECONDS,
    check_launch_line,
    end_process_group,
    is_main_process,
    rank,
    use_all_cores,
    use_one_gpu,
    wait_for_all,
)
from hfllm.runs.quiet import quiet_libraries
from hfllm.runs.record import recording
from hfllm.runs.repeat_error import repeat_after_launcher
from hfllm.runs.set_aside import restore, set_aside
from hfllm.runs.status import status
from hfllm.runs.user_errors import explain
from hfllm.stages import find_stages

RESUMABLE = ("interrupted", "failed")  # forced or not, such a step resumes from its checkpoints

MAIN_SPEAKS_WITHIN_S = 5


def main(stage: str | None = None, argv: list[str] | None = None) -> None:
    """Run one step of a recipe; a user's mistake ends with one line and exit code 1.

    The step is `--step NAME`; without it the recipe's step of `stage`, which launch/sft.py and the
    other scripts pass. `argv` replaces the command line.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        print(f"{(__doc__ or '').strip()}\n")
        print(usage(stage))
        return
    quiet_libraries()
    use_all_cores()
    use_one_gpu()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        recipe, name = arguments(stage, words, find_stages())
        step = step_named(recipe, name)
        run_step(step)
        wait_for_all()
    except (Exception, KeyboardInterrupt) as error:
        told = explain(error)
        if told is None:
            raise
        _fail(*told)
    finally:
        end_process_group()


def _fail(message: str, code: int) -> NoReturn:
    if is_main_process():
        text = "".join(f"error: {line}\n" for line in message.splitlines())
        print(text, end="", file=sys.stderr, flush=True)
        repeat_after_launcher(text)
    else:  # a launcher ends the main process when another one ends: let it say its line first
        time.sleep(MAIN_SPEAKS_WITHIN_S)
    raise SystemExit(code)


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(143)  # outside training; during training StopOnSignal handles the signal


def run_step(step: Step) -> None:
    """Check the step, make its missing data steps, and run it unless it is done."""
    check_launch_line()
    switched_off()  # a typo in HFLLM_SLOW is an error here, not in the middle of training
    preflight(step.recipe, [step.name])
    forced = os.environ.get("HFLLM_FORCE") == step.name
    now = status(step)
    if now.is_done and not forced:
        if is_main_process():
            print(f"{step.name}: {now.reason}; nothing to do; {step.product}", flush=True)
        return
    if not is_main_process():
        if not step.stage.trains:
            return  # the main process makes data and tests models, alone
        wait_for_parents(step)
        _run_on_another_rank(step)
        return
    with run_lock(step.recipe.run_dir):
        prepare_parents(step)
        now = status(step)  # again: the artifact of a parent made just now may differ
        if step.folder.is_dir() and (now.state == "stale" or forced and now.state not in RESUMABLE):
            if STARTED_BY_RUN not in os.environ:  # `hfllm run` has read the first rows
                preflight(step.recipe, [step.name], with_rows=True)
            print(f"{step.name}: {now.reason}; {set_aside(step)}", flush=True)
        _run_stage(step)
        print(f"{step.name}: {status(step).reason}; {step.product}", flush=True)


def _run_on_another_rank(step: Step) -> None:
    """Run the stage on a rank other than 0; print an error only if the main process has none."""
    begun = time.time()
    try:
        _run_stage(step)
    except Exception as error:
        if not _main_failed(step, begun):
            print(f"error: process {rank()}: {first_line(error)}", file=sys.stderr, flush=True)
        raise


def _main_failed(step: Step, since: float, polls: int = 10) -> bool:
    """Whether the main process records within 5 seconds that the step failed."""
    for _ in range(polls):
        written = step.manifest.exists() and step.manifest.stat().st_mtime > since - 1
        if written and status(step).state == "failed":
            return True
        time.sleep(0.5)
    return False


def _run_stage(step: Step) -> None:
    """Run the stage inside `recording`: `build` and `fit` if it trains, otherwise its `run`."""
    module, config = importlib.import_module(step.stage.module), step.spec.config
    with recording(step, is_main_process()) as manifest:
        if off := switched_off():
            manifest.notes.append(f"{SWITCH}: fast paths switched off: {', '.join(off)}")
        if step.stage.trains:
            from hfllm.planning.prediction import predict
            from hfllm.training.fit import build_and_fit  # torch and transformers

            predict(step, manifest)
            build_and_fit(module.build, step, manifest)
        else:
            module.run(config, step, manifest)
        Ledger.from_json(manifest.ledger).check()  # a stage may have made its rows by hand


def prepare_parents(step: Step) -> None:
    """Make the missing and stale data steps that `step` reads, in this process.

    ValueError if a model step is missing or stale, or a file of a parent has other bytes than its
    manifest vouches for; the line names the commands that make it.
    """
    for name in ancestors(step.recipe.steps, step.name):
        parent = step.other(name)
        now = status(parent)
        if now.is_done or step.stage.reads_everything:
            continue
        if not parent.stage.makes_data:
            raise ValueError(
                f"{step.name}: its parent '{name}' is {now.state} ({now.reason}): "
                f"run `{step.command(only=name)}` or "
                f"`accelerate launch launch/stage.py {step.recipe.path} --step {name}"
                f"{overrides_of(step.recipe)}` first"
            )
        if copy := restore(parent):
            print(f"{name}: {now.reason}; put back from {copy}", flush=True)
            continue
        where = f"; {set_aside(parent)}" if now.state == "stale" else ""
        print(f"{step.name}: making its parent '{name}' first ({now.reason}{where})", flush=True)
        _run_stage(parent)
    if not step.stage.reads_everything:
        check_parents(step)


def wait_for_parents(step: Step, poll_s: float = 0.5, timeout_s: float = WAIT_SECONDS) -> None:
    """Wait, on a rank other than 0, until the main process has made the missing data steps.

    Their manifests are read every `poll_s` seconds. ValueError if a parent failed, a model is
    missing, or `timeout_s` seconds have passed.
    """
    begun, deadline = time.time(), time.monotonic() + timeout_s
    for name in ancestors(step.recipe.steps, step.name):
        parent = step.other(name)
        while not status(parent).is_done:
            now = status(parent)
            failed = now.state == "failed" and parent.manifest.stat().st_mtime > begun - 1
            if failed or (not parent.stage.makes_data and now.state != "interrupted"):
                raise ValueError(f"{step.name}: its parent '{name}' is {now.state}")
            if time.monotonic() > deadline:
                raise ValueError(
                    f"{step.name}: waited {timeout_s:.0f} s for '{name}'; see the main process"
                )
            time.sleep(poll_s)


if __name__ == "__main__":
    main()

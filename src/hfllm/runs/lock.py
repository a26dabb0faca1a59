"""One writer per run folder: a second `hfllm run` of the same recipe is told who holds it.

An advisory lock (flock) on runs/NAME/.lock, so that a killed process leaves no stale lock. Steps
started by `hfllm run` inherit the permission through the environment, and the open file itself:
should the parent be killed, the lock stays with the step that is still at work.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HELD = "HFLLM_LOCK_HELD"  # the run folder whose lock the parent process holds


class RunLocked(ValueError):
    """Another process works on this run folder."""


@contextmanager
def run_lock(run_dir: Path) -> Iterator[int | None]:
    """Hold the run folder's lock; raises RunLocked at once where somebody else has it.

    Yields the file to hand on to a step's process; None where this process was handed it.
    """
    path = run_dir / ".lock"
    if os.environ.get(HELD) == str(run_dir.resolve()):
        if path.is_file():  # the first line is the holder's
            holder = path.read_text().partition("\n")[0]
            path.write_text(f"{holder}\nits step in process {os.getpid()}\n")
        yield None
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = ", ".join(file.read().split("\n")).strip(", ") or "another process"
            raise RunLocked(
                f"{run_dir} is in use by {holder}; wait for it, stop it, "
                f"or choose another folder with name=OTHER"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        os.environ[HELD] = str(run_dir.resolve())
        try:
            yield file.fileno()
        finally:
            os.environ.pop(HELD, None)

"""Lock a run folder: one writer at a time; a second `hfllm run` is refused, naming the first.

The lock is an advisory one (flock) on runs/NAME/.lock, so a killed process leaves no stale lock.
A step's process started by `hfllm run` inherits the permission through an environment variable, and
the open file too: if the parent is killed, the lock is held as long as the step still runs.
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
    """Another process holds the lock of the run folder."""


@contextmanager
def run_lock(run_dir: Path) -> Iterator[int | None]:
    """Hold the run folder's lock; RunLocked at once if another process holds it.

    Yields the file descriptor that a step's process must inherit, or None if this process has
    inherited it.
    """
    path = run_dir / ".lock"
    if os.environ.get(HELD) == str(run_dir.resolve()):
        if path.is_file():  # the first line names the parent process, which took the lock
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

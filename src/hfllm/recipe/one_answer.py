"""One process of a launch asks, and the others on its machine read its answer.

Each process of a step asks before torch is imported and before there is a process group. If each
asked for itself, one might find the hub and another not, and load other weights or wait for ever
at the first collective. So the answer stands in a file that is named after the launcher, which is
the parent of all of them.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WAIT_S = 30  # processes of one launch start within seconds of each other


def one_answer(ask: Callable[[], str | None], what: str) -> str | None:
    """The answer of `ask`, which only the first process of a launch on this machine calls.

    Args:
        ask: returns the same kind of answer in every process.
        what: names the question, in a file name.
    """
    if _processes() == 1:
        return ask()
    path = _file(what)
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        answer = ask()
        _remove_old(path)
        _write(path, answer)
        return answer
    deadline = time.monotonic() + WAIT_S
    while not path.is_file():
        if time.monotonic() > deadline:  # a launcher whose processes have several parents
            return ask()
        time.sleep(0.05)
    answer = json.loads(path.read_text(encoding="utf-8"))
    assert answer is None or isinstance(answer, str)
    return answer


def _processes() -> int:
    """The number of processes of the launch on this machine, or on all where that is not told."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)


def _file(what: str) -> Path:
    import psutil

    launcher = psutil.Process(os.getppid())
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    name = f"hfllm-{what}-{os.getuid()}-pid{launcher.pid}-{launcher.create_time()}-{attempt}.json"
    return Path(tempfile.gettempdir()) / name


def _remove_old(path: Path) -> None:
    """Remove the answers of ended launches; this one's stays for processes that come late."""
    import psutil

    for old in path.parent.glob(path.name.split("-pid")[0] + "-pid*.json"):
        pid = int(old.name.split("-pid")[1].split("-")[0])
        if old != path and not psutil.pid_exists(pid):
            old.unlink(missing_ok=True)


def _write(path: Path, answer: str | None) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(temporary, path)

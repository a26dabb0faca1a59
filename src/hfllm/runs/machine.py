"""The memory that this process may use: the GPU's, else the machine's or its cgroup's limit.

A container or a SLURM job has less than the machine: its control group says how much (version 2:
memory.max, version 1: memory.limit_in_bytes, of the process's own group and of those above it).
"""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit(on_gpu: bool) -> int:
    """Bytes that the process may use at most, whatever else runs now."""
    if on_gpu:
        import torch

        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _groups())])


def free_memory(on_gpu: bool) -> int:
    """Bytes that are free at this moment."""
    if on_gpu:
        import torch

        return torch.cuda.mem_get_info()[0]
    return min([psutil.virtual_memory().available, *(limit - used for limit, used in _groups())])


def _groups() -> list[tuple[int, int]]:
    """(limit, used) in bytes of every control group with a limit that holds this process."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            names = names if controllers else ("memory.max", "memory.current")
            own = root / path.lstrip("/")
            folders = [own, *own.parents]
            found += [_read(f, *names) for f in folders if f == root or root in f.parents]
    return [both for both in found if both is not None]


def _read(folder: Path, limit: str, used: str) -> tuple[int, int] | None:
    try:
        return int((folder / limit).read_text()), int((folder / used).read_text())
    except (OSError, ValueError):  # no such group in this container; "max": no limit
        return None

"""The processes of a step: rank and world size, checks of the launch line, cores, GPUs, the end.

On a machine without a GPU two launch lines silently do something else than they ask for, so they
are refused: `accelerate launch --cpu --num_processes 2` starts one process, and FSDP through
accelerate trains as plain DDP (every process holds the whole model). accelerate also sets
OMP_NUM_THREADS=1 unasked; `use_all_cores` undoes it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hfllm.recipe.launch_line import config_file, options, read_config
from hfllm.recipe.launcher import is_launcher, launcher_words

if TYPE_CHECKING:
    import psutil

WAIT_SECONDS = 6 * 3600  # how long the other processes wait for data that the main one makes


def rank() -> int:
    """This process's global rank, from the launcher's environment; 0 without a launcher."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0)))


def world_size() -> int:
    """The number of processes, from the launcher's environment; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main_process() -> bool:
    """Whether this is rank 0, which alone writes manifests, metrics and messages."""
    return rank() == 0


def check_launch_line() -> None:
    """Raise ValueError if the launcher silently started something else than asked for."""
    asked = asked_processes(launcher_words())
    if asked and asked > 1 and world_size() == 1:
        raise ValueError(
            f"the launch line asks for {asked} processes but one was started (accelerate does so "
            "with --cpu): use `ACCELERATE_USE_CPU=true accelerate launch --multi_gpu "
            f"--num_processes {asked} ...` or `torchrun --nproc_per_node {asked} ...`"
        )
    if is_on("ACCELERATE_USE_DEEPSPEED"):
        if is_on("ACCELERATE_USE_CPU"):
            raise ValueError(
                "with ACCELERATE_USE_CPU, accelerate silently trains as plain DDP instead of "
                "DeepSpeed: leave it out, a CPU is found without it"
            )
        if not has_gpu():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if is_on("ACCELERATE_USE_FSDP") and not has_gpu():
        raise ValueError(
            "FSDP through accelerate on a CPU is plain DDP under another name: every process "
            "holds the whole model; use configs/accelerate/ddp.yaml or zero2.yaml on CPUs"
        )


def is_on(name: str) -> bool:
    """Whether an environment variable of the launcher is set to 1, true or yes."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def use_all_cores() -> None:
    """Set OMP_NUM_THREADS to this process's share of the cores; call before torch is imported.

    `accelerate launch` and torchrun set it to 1 if the user set nothing, so that each process
    trains on one core: half the speed on two. A number that the user set, in the environment or
    with --num_cpu_threads_per_process, is kept.
    """
    words, launcher_env = launcher_words(("accelerate", "torchrun", "torch.distributed")), {}
    if words:
        launcher_env = _launcher_environment()
    asked = any(w.replace("-", "_").startswith("__num_cpu_threads_per_process") for w in words)
    if not words or asked or launcher_env.get("OMP_NUM_THREADS"):
        return
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    os.environ["OMP_NUM_THREADS"] = str(max(1, _cores() // local))


def use_one_gpu() -> None:
    """Hide all GPUs but the first if there is no launcher; call before torch is imported.

    In one process transformers would wrap the model in nn.DataParallel over all visible GPUs, which
    multiplies the batch size. Training on several GPUs needs a process for each.
    """
    if "WORLD_SIZE" in os.environ:
        return
    present = [path.name for path in Path("/proc/driver/nvidia/gpus").glob("*")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(len(present)))) or "0")
    first, *others = visible.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = first
    if others:
        print(
            f"one process takes one GPU ({first}), {len(others)} more stay idle; to use all: "
            f"accelerate launch --multi_gpu --num_processes {len(others) + 1} launch/STAGE.py ...",
            flush=True,
        )


def _cores() -> int:
    """The number of cores that this process may use; on macOS, which cannot tell, all cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def asked_processes(words: list[str]) -> int | None:
    """`num_processes` of an `accelerate launch` command line or of its config file."""
    given = options(words).get("num_processes", "")
    if given.isdigit():
        return int(given)
    file = config_file(words)
    found = read_config(file).get("num_processes") if file and file.is_file() else None
    return found if isinstance(found, int) else None


def step_processes(pid: int) -> list[psutil.Process]:
    """The processes to signal so that a step ends: accelerate's children, else the process itself.

    accelerate's launcher ends on a signal without passing it on to its children.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        children = process.children() if is_launcher(process.cmdline()) else []
    except psutil.Error:
        return []
    return children or [process]


def _launcher_environment() -> dict[str, str]:
    import psutil

    try:
        return psutil.Process().parent().environ()
    except (psutil.Error, AttributeError):
        return dict(os.environ)


def has_gpu() -> bool:
    """Whether torch finds a GPU; imports torch."""
    return count_gpus() > 0


def count_gpus() -> int:
    """The number of GPUs that torch finds; imports torch."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def is_sharded(args: Any) -> bool:
    """Whether DeepSpeed or FSDP will shard the model under these TrainingArguments."""
    return args.deepspeed_plugin is not None or bool(args.fsdp) or is_on("ACCELERATE_USE_FSDP")


def wait_for_all() -> None:
    """Barrier over all processes, so that none exits while another still works.

    Two failures are avoided. The launcher stops all processes when one exits with an error, also
    the main one while it writes the manifest. And gloo's thread aborts its process if it still
    frees the tensors of the last collective while Python shuts down (CPython before 3.14: a thread
    that waits for the GIL then is unwound through a destructor); a barrier has no tensors, and
    waits without the GIL.
    """
    if distributed := _initialized_group():
        with suppress(RuntimeError):  # another process failed, and prints its own error
            distributed.barrier()


def end_process_group() -> None:
    """Destroy the process group: DeepSpeed and gloo sometimes abort at exit if it still exists."""
    if distributed := _initialized_group():
        distributed.destroy_process_group()


def _initialized_group() -> ModuleType | None:
    """torch.distributed if this process is in a group (and so has imported it), else None."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed

"""The files of a rollout that is in use when a checkpoint is written: one of each process.

TRL's trainers on rollouts sample again after a resume; with these files a resumed run is the
straight one (`save_in_use`, `resume`). Only the same number of processes can go on with them;
another one samples the answers again, from the place in the rollout that follows from the optimizer
step.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

Batch = dict[str, Any]  # TRL's


def save_in_use(trainer: Any, folder: Path) -> None:
    """Save this process's part of the rollout that a TRL trainer is using, if it is.

    Args:
        trainer: has TRL's `_step` and `_buffered_inputs`.
        folder: the checkpoint's.
    """
    used = trainer._step % ((trainer.args.steps_per_generation or 1) * trainer.num_iterations)
    if used and trainer._buffered_inputs is not None:
        save(file_of(folder, trainer.accelerator.process_index), used, trainer._buffered_inputs)


def resume(trainer: Any, checkpoint: Path, say: Callable[[str], None]) -> None:
    """Load the rollout in use; sample it again if other processes saved it, which is said."""
    if is_of(checkpoint, trainer.accelerator.num_processes):
        file = file_of(checkpoint, trainer.accelerator.process_index)
        trainer._step, trainer._buffered_inputs = load(file, trainer.accelerator.device)
        return
    step = step_of(checkpoint)
    if used := steps_into_rollout(trainer.args, trainer.train_dataset, step):
        trainer._step = used  # on every process, or the others would wait for this one's answers
        say("the rollout in use was of other processes: its answers are sampled again")


def save(file: Path, used: int, micro_batches: list[Batch]) -> None:
    """Save the `micro_batches` of a rollout and the steps for which it was `used` to `file`."""
    torch.save({"used": used, "micro_batches": micro_batches}, file)


def load(file: Path, device: torch.device) -> tuple[int, Any]:
    """Load (used, micro_batches) of `save`."""
    # Not map_location=device: torch cannot restore to "cpu:0", the device of a process of several.
    saved = torch.load(file, map_location="cpu", weights_only=True)
    for batch in saved["micro_batches"]:
        if "values" in batch:  # PPO's; older files have privileged_values as `informed`
            informed = batch.pop("informed", torch.zeros_like(batch["values"]))
            batch.setdefault("privileged_values", informed)
            batch.setdefault("scored_share", torch.tensor(1.0))
    return saved["used"], [
        {name: x.to(device) if torch.is_tensor(x) else x for name, x in batch.items()}
        for batch in saved["micro_batches"]
    ]


def file_of(checkpoint: Path, process: int) -> Path:
    """The file in which a process saves its part of a rollout that is in use."""
    return checkpoint / f"rollout_{process}.pt"


def is_of(checkpoint: Path, processes: int) -> bool:
    """Whether the checkpoint has the rollout's part of each of so many processes, and no other."""
    names = {path.name for path in checkpoint.glob("rollout_*.pt")}
    return names == {file_of(checkpoint, i).name for i in range(processes)}


def step_of(checkpoint: Path) -> int:
    """The optimizer step of a trainer's checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).global_step


def steps_into_rollout(args: Any, prompts: Any, optimizer_step: int) -> int:
    """Micro-batches of the current rollout that were used up at an optimizer step.

    Args:
        args: rollouts and accumulation of this run.
        prompts: the data set; an epoch is a whole number of rollouts.
        optimizer_step: counted from the start of the training.
    """
    use = (args.steps_per_generation or 1) * args.num_iterations
    per_rollout = (args.generation_batch_size or 1) // (args.num_generations or 1)
    in_epoch = -(-(len(prompts) // per_rollout * use) // args.gradient_accumulation_steps)
    return optimizer_step % in_epoch * args.gradient_accumulation_steps % use

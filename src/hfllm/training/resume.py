"""Resume from a checkpoint that another number of processes wrote.

With the same number a resumed run is exact. With another one `keep_rows_per_step` sets gradient
accumulation so that an optimizer step keeps its rows, as far as they can be divided: then steps,
schedule and order of the rows stay as they were. The states of random generators belong to
processes, so dropout and sampling begin anew; `what_is_anew` says all of it in one line.
`Progress` is saved with each checkpoint (progress.json): the processes, the rows of a step, and the
tokens seen, which cannot be computed from the step once its size has changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import Trainer

from hfllm.recipe.trainers import build_trainer_config, launch_asks
from hfllm.runs.checkpoints import newest_complete, step_of
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_on, world_size

FILE = "progress.json"
COUNTED_BY_TRL = "_total_train_tokens"  # attribute of its trainers, logged as num_tokens
ACCUMULATION, PER_ROLLOUT = "gradient_accumulation_steps", "steps_per_generation"
SIZES = (ACCUMULATION, "per_device_train_batch_size")


def rows_per_step(args: Any) -> int:
    """Rows of one optimizer step, over all processes."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size


def precision_of(args: Any) -> str:
    """What the trainer computes in, as --mixed_precision names it: bf16, fp16 or no (float32)."""
    return "bf16" if args.bf16 else "fp16" if args.fp16 else "no"


@dataclass
class Progress:
    """What a checkpoint's step number does not tell."""

    processes: int
    rows_per_step: int | None = None  # None: written before it was recorded
    tokens: int | None = None  # seen so far; None: unknown
    counted: int | None = None  # TRL's own count (COUNTED_BY_TRL), which it does not save
    precision: str | None = None  # `precision_of`; None: written before it was recorded

    def save(self, checkpoint: Path) -> None:
        """Write it to the checkpoint."""
        (checkpoint / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, checkpoint: Path) -> Progress:
        """That of a checkpoint; of an older one, from the files of its random generators."""
        file = checkpoint / FILE
        if file.is_file():
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        return cls(processes=max(1, len(list(checkpoint.glob("rng_state_*.pth")))))


class TokensSeen:
    """Tokens of the whole training, including the part before a resume."""

    def __init__(self, trainer: Trainer, per_step: int | None, checkpoint: str | None) -> None:
        """`per_step`: tokens of a step of this run; None: the trainer counts them itself."""
        self.trainer, self.per_step = trainer, per_step
        self.start, self.before = 0, 0
        if checkpoint:
            self.start, found = step_of(Path(checkpoint)), Progress.read(Path(checkpoint))
            self.before = self.start * (per_step or 0) if found.tokens is None else found.tokens
            if found.counted is not None:
                setattr(trainer, COUNTED_BY_TRL, found.counted)

    def at(self, step: int) -> int:
        """Tokens up to a step of this run."""
        if self.per_step is None:
            return int(self.trainer.state.num_input_tokens_seen)
        return self.before + (step - self.start) * self.per_step

    def save(self, checkpoint: Path, step: int) -> None:
        """Write the tokens and what they are made of to a checkpoint."""
        args, counted = self.trainer.args, getattr(self.trainer, COUNTED_BY_TRL, None)
        progress = Progress(args.world_size, rows_per_step(args), self.at(step), counted)
        progress.precision = precision_of(args)
        progress.save(checkpoint)


def check_same_everywhere(checkpoint: Path | None, processes: int) -> None:
    """Check that all processes found the same checkpoint: else some would wait for others for ever.

    Raises:
        ValueError: they did not: the run's folder is not on a disk that all machines share.
    """
    if processes == 1:
        return
    found = gather_object([checkpoint and checkpoint.name])
    if len(set(found)) > 1:
        raise ValueError(
            f"processes found different checkpoints ({', '.join(map(str, found))}): put run_dir on "
            "a disk that all machines share"
        )


def keep_rows_per_step(step: Step) -> None:
    """Set `step.spec.forced`, so that a step has the rows that it had before, where possible.

    Raises:
        ValueError: DeepSpeed, whose checkpoint is in as many shards as there were processes; or as
            many processes with other rows in a step, as a launch line may ask for.
    """
    step.spec.forced = {}
    checkpoint, _ = newest_complete(step.checkpoints)
    if checkpoint is None or not step.spec.config.resume:
        return
    before, now = Progress.read(checkpoint), world_size()
    if before.processes == now:
        step.spec.forced = _same_rows(step, before)
        return
    if is_on("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError(
            f"{step.name}: {checkpoint} is in shards of {before.processes} DeepSpeed processes and "
            f"this run has {now}; start as many, or set {step.name}.resume=false to start again"
        )
    step.spec.forced = _accumulation(step, before)


def _same_rows(step: Step, before: Progress) -> dict[str, int]:
    """What keeps the rows of a step on as many processes: {} where they are the same anyway.

    They differ where an earlier resume, on other processes, has set the accumulation, or where the
    launch asks for another one.
    """
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    rows = rows_per_step(args)
    if before.rows_per_step in (None, rows):
        return {}
    asks = [one.where for one in launch_asks(step.spec) if one.key in SIZES]
    forced = {} if asks or is_on("ACCELERATE_USE_DEEPSPEED") else _accumulation(step, before)
    if forced:
        return forced
    by = f" ({', '.join(asks)})" if asks else ""
    raise ValueError(
        f"{step.name}: a step of this run has {rows} rows{by}, one of its checkpoint "
        f"{before.rows_per_step}; start it as before, or set {step.name}.resume=false to start "
        "again"
    )


def _accumulation(step: Step, before: Progress) -> dict[str, int]:
    """The accumulation that keeps the rows of a step; {} if they cannot be divided so."""
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    rows = before.rows_per_step or rows_per_step(args) // args.world_size * before.processes
    micro_batches, rest = divmod(rows, args.train_batch_size * args.world_size)
    if rest or micro_batches == args.gradient_accumulation_steps:
        return {}
    forced = {ACCUMULATION: micro_batches}
    if PER_ROLLOUT in step.spec.config.trainer:  # else it follows from the other keys
        in_rollout = getattr(args, PER_ROLLOUT) * micro_batches
        if in_rollout % args.gradient_accumulation_steps:
            return {}
        forced[PER_ROLLOUT] = in_rollout // args.gradient_accumulation_steps
    return forced


def other_precision(step: Step, args: Any, before: Progress) -> str | None:
    """One line where this run computes in another precision than its checkpoint's, or None."""
    now = precision_of(args)
    if before.precision in (None, now):
        return None
    return (
        f"{step.name}: mixed precision is {now}, that of the checkpoint was {before.precision}: "
        "the model will not be that of a straight run; start it as before to have that"
    )


def what_is_anew(step: Step, args: Any, before: Progress) -> str | None:
    """One line on a resumed run with another number of processes, or None with the same one."""
    if before.processes == args.world_size:
        return None
    rows, accumulation = rows_per_step(args), args.gradient_accumulation_steps
    had = before.rows_per_step or rows // args.world_size * before.processes
    if step.spec.forced:
        size = (
            f"gradient_accumulation_steps is {accumulation}, so that a step keeps its {rows} rows"
        )
    elif rows == had:
        size = f"a step keeps its {rows} rows"
    else:
        size = (
            f"a step has {rows} rows instead of {had} and their order is another one, so some rows "
            "are trained again and others left out"
        )
    return (
        f"{step.name}: the checkpoint is of {before.processes} process(es), this run has "
        f"{args.world_size}: {size}; dropout and sampling start from other random numbers, so the "
        "model will not be that of a straight run to the bit"
    )

"""What a training step prints: its plan first, then how far it is and the time left.

On a terminal a tqdm bar stands below the lines. In a file or pipe there are lines alone: the first
after the first optimizer step, then one per log of the trainer, and one a minute where logs are
rarer. Only the main process prints.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import Trainer

from hfllm.runs.progress_format import counted, duration, large
from hfllm.training.resume import rows_per_step

LINE_EVERY_S = 60.0


class ProgressLines:
    """Prints the plan, a bar or lines, and the time left; `MetricsLog` passes the events on.

    Args:
        label: beginning of each line: the step's name.
        plan: number of optimizer steps -> the lines before the first of them.
    """

    def __init__(self, label: str, plan: Callable[[int], list[str]]) -> None:
        self.label, self.plan = label, plan
        self.bar: Any = None
        self.begun, self.first, self.printed = 0.0, 0, 0.0

    def begin(self, state: Any, bar: bool) -> None:
        """Print the plan; with `bar` open one if this is a terminal."""
        self.begun = self.printed = time.monotonic()
        self.first = state.global_step
        for line in self.plan(state.max_steps):
            print(f"{self.label}: {line}", flush=True)
        if bar and sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc=self.label,
                unit="step",
                leave=False,
                disable=False,  # whatever TQDM_DISABLE said when tqdm was imported
                dynamic_ncols=True,
            )

    def step(self, state: Any, seconds: float, logged: bool) -> None:
        """Move the bar, or print a line if it is the first step or a minute has passed.

        Args:
            state: the trainer's.
            seconds: of training so far.
            logged: the trainer logs this step, so that it gets a line anyway.
        """
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)
        is_first = self.first + 1 == state.global_step < state.max_steps  # the last: its evaluation
        late = time.monotonic() - self.printed > LINE_EVERY_S
        if not logged and (is_first or (late and self.bar is None)):
            self.write(self.place(state, seconds))

    def end(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def place(self, state: Any, seconds: float) -> str:
        """The beginning of a line: step, seconds of training, and the time left."""
        step = f"step {state.global_step:>5}/{state.max_steps}"
        left = self.left(state)
        return f"{self.label}  {step}  {seconds:>6.0f} s" + (f", {left} left" if left else "")

    def left(self, state: Any) -> str:
        """The time left at the speed so far; empty before the first step and after the last."""
        done, todo = state.global_step - self.first, state.max_steps - state.global_step
        if done < 1 or todo < 1:
            return ""
        return duration((time.monotonic() - self.begun) / done * todo)

    def write(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self.printed = time.monotonic()
        if self.bar is None:
            print(line, flush=True)
        else:
            tqdm.write(line, file=sys.stdout)


def step_plan(
    trainer: Trainer, row_tokens: float | None, passes: Mapping[str, float]
) -> Callable[[int], list[str]]:
    """The line on steps, batch, tokens and passes over the data, once the steps are known."""
    args = trainer.args
    rows, micro = rows_per_step(args), args.train_batch_size
    parts = [f"{micro} at once"]
    if (times := args.gradient_accumulation_steps) > 1:
        parts.append(f"accumulated {times} times")
    if args.world_size > 1:
        parts.append(f"on {args.world_size} processes")
    batch = f"{counted(rows, 'row')} ({', '.join(parts)})"
    over = ", ".join(f"{count:.2f} over {name}" for name, count in passes.items())

    def plan(steps: int) -> list[str]:
        tokens = ""
        if row_tokens:
            each = rows * row_tokens
            tokens = f", about {each:,.0f} tokens each and {large(steps * each)} in all"
        passed = f"; passes: {over}" if over else ""
        return [f"{counted(steps, 'step')} of {batch}{tokens}{passed}"]

    return plan


def _engine(trainer: Trainer) -> str:
    """FSDP, DeepSpeed or torch.compile, which a launch line may ask for."""
    state = trainer.accelerator.state
    plugin = getattr(state, "dynamo_plugin", None)
    compiled = plugin.backend.value if plugin else "NO"
    compiler = "" if compiled == "NO" else f", compiled by {compiled.lower()}"
    if trainer.is_fsdp_enabled:
        return f", FSDP{state.fsdp_plugin.fsdp_version}{compiler}"
    if not trainer.is_deepspeed_enabled:
        return compiler
    return f", DeepSpeed ZeRO-{state.deepspeed_plugin.zero_stage}{compiler}"


def model_line(trainer: Trainer, parameters: int) -> str:
    """Size, precision, device, processes and engine, learning rate."""
    args = trainer.args
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    place = "cpu" if args.use_cpu else str(args.device)
    return (
        f"{parameters / 1e6:.2f}M parameters, {precision}, {place}, {args.world_size} process(es)"
        f"{_engine(trainer)}, learning rate {args.learning_rate:g}"
    )

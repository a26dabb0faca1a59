"""Stop a training whose loss or gradient is not finite, and refuse to call its result done.

After every gradient norm (one for all processes): NaN or infinity ends the training before the
optimizer's step, so that no checkpoint holds the damage. Under fp16 the gradient scaler skips such
steps and halves its scale, which is right now and then; only many in a row end the training. The
losses and norms that a trainer logs besides (a critic's) are looked at when they are logged. At the
end the saved weights are read once more, and a training in which nothing was learned is refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import Trainer, TrainerCallback

from hfllm.runs.checkpoints import newest_complete
from hfllm.runs.layout import Step

MAX_SKIPPED = 40  # fp16: the scale goes from 65,536 to 1 in 16 halvings


class StopWhereNotFinite(TrainerCallback):
    """Raise ValueError at the first gradient norm or logged loss that is NaN or infinite.

    Args:
        trainer: its `_get_grad_norm` is wrapped: transformers has no callback that sees the norm
            before the optimizer's step.
        step: for the message.
    """

    def __init__(self, trainer: Trainer, step: Step) -> None:
        self.trainer, self.step = trainer, step
        self.skipped = 0  # steps one after the other that fp16's scaler skips
        self.seen, self.learned = 0, 0  # gradients in this process, and those that were not 0
        self.begun, self.rated = 0, 0  # steps in this process, and those with a rate other than 0
        self.norm_of = trainer._get_grad_norm
        trainer._get_grad_norm = self._checked_norm  # type: ignore[method-assign]

    def _checked_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = self.norm_of(*args, **kwargs)
        if norm is None:  # DeepSpeed before its first step
            return norm
        self.seen += 1
        if math.isfinite(value := float(norm)):
            self.skipped = 0
            self.learned += value != 0
            return norm
        self.skipped += 1
        if not self._scales() or self.skipped > MAX_SKIPPED:
            raise ValueError(
                self._message("gradient", float(norm), self.trainer.state.global_step + 1)
            )
        return norm

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Look at every loss and gradient norm of the training (not of an evaluation)."""
        if self._scales():
            return  # the means include skipped steps
        for key, value in (logs or {}).items():
            is_ours = key.endswith(("loss", "grad_norm")) and not key.startswith("eval_")
            if is_ours and isinstance(value, float) and not math.isfinite(value):
                raise ValueError(self._message(key, value, state.global_step))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the steps whose learning rate is not 0."""
        self.begun += 1
        self.rated += any(group["lr"] != 0 for group in kwargs["optimizer"].param_groups)

    def check_learned(self) -> None:
        """Raise ValueError if no step was trained, or none had a gradient or rate other than 0."""
        state, step = self.trainer.state, self.step
        if state.global_step == 0:
            raise ValueError(
                f"{step.name}: not one step was trained; there are fewer rows than a step takes "
                f"({step.name}.trainer.per_device_train_batch_size), or max_steps is 0"
            )
        before = [value for row in state.log_history for key, value in row.items()
                  if key.endswith("grad_norm") and value and math.isfinite(value)]  # fmt: skip
        if self.seen and not self.learned and not before:
            raise ValueError(
                f"{step.name}: nothing was learned: no step had a gradient other than 0; no token "
                "was trained, every answer got the same reward, or fp16 overflowed; look at the "
                f"rows and at {step.metrics}"
            )

        is_whole = self.begun == state.global_step  # a resumed one has learned before
        if is_whole and not self.rated and self.trainer.args.learning_rate != 0:
            steps = "the only step" if self.begun == 1 else f"each of the {self.begun} steps"
            raise ValueError(
                f"{step.name}: nothing was learned: the learning rate was 0 at {steps}; lower "
                f"{step.name}.trainer.warmup_steps, or train for more steps"
            )

    def _scales(self) -> bool:
        """Whether fp16's gradient scaler is at work (accelerate's, or DeepSpeed's own)."""
        return (
            getattr(self.trainer.accelerator, "scaler", None) is not None or self.trainer.args.fp16
        )

    def _message(self, what: str, value: float, at: int) -> str:
        args, steps = self.trainer.args, self.trainer.state.max_steps
        kept, _ = newest_complete(self.step.checkpoints)
        rest = f"; {kept} is the last checkpoint before it" if kept else ""
        row = f" in {self.skipped} steps one after the other" if self._scales() else ""
        key = f"{self.step.name}.trainer"
        return (
            f"{self.step.name}: the {what} is {value} at step {at} of {steps}{row}: "
            f"training has diverged and is stopped; lower {key}.learning_rate "
            f"({args.learning_rate:g}), raise {key}.warmup_steps, or look at the rows and at "
            f"{self.step.metrics}{rest}"
        )


def check_saved_weights(step: Step) -> None:
    """Raise ValueError if a tensor in the step's model folder is not finite (reads it once)."""
    for file in sorted(step.model.rglob("*.safetensors")):
        if name := _not_finite(file):
            raise ValueError(
                f"{step.name}: {name} in {file} holds NaN or infinity: the training has diverged; "
                f"lower {step.name}.trainer.learning_rate and look at {step.metrics}"
            )


def _not_finite(file: Path) -> str | None:
    """The first tensor of a safetensors file with a NaN or an infinity, or None."""
    with safe_open(str(file), framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118  it is no dict
            tensor = tensors.get_tensor(name)
            if tensor.is_floating_point() and not tensor.isfinite().all():
                return name
    return None

"""Log metrics in a TRL trainer: means over all processes, and seconds of each part of a step."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

from hfllm.rl.advantages import Reduce

Metrics = dict[str, list[float]]  # TRL logs the mean of each list and clears them


class Meter:
    """Adds to the metrics of a TRL trainer."""

    def __init__(
        self, metrics: Mapping[str, Metrics], mode: Callable[[], str], reduce: Reduce
    ) -> None:
        """Start at zero seconds.

        Args:
            metrics: TRL's `_metrics`, {"train": ..., "eval": ...}.
            mode: returns "train" or "eval", whichever is running.
            reduce: sums a tensor over processes.
        """
        self._metrics, self._mode, self._reduce = metrics, mode, reduce
        self._seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    @property
    def current(self) -> Metrics:
        """The metrics of training or of evaluation, whichever is running."""
        return self._metrics[self._mode()]

    def note(self, name: str, x: torch.Tensor) -> None:
        """Log the mean of `x` over all processes, without NaN."""
        x = x.detach().float().reshape(-1)
        x = x[~x.isnan()]
        total, count = self._reduce(torch.stack([x.sum(), x.new_tensor(float(len(x)))])).tolist()
        self.current[name].append(total / count if count else float("nan"))

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Context whose seconds are added to `part`: "rollout", or "generate" within it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[self._mode()][part] += time.perf_counter() - start

    def add_times(self) -> None:
        """Add the seconds since the last log: generating, scoring and updating.

        A step includes the rollout at its beginning. TRL's own `step_time` is replaced: where
        accumulation does not divide an epoch it is noted in the middle of a later step.
        """
        spent = self._seconds.pop(self._mode(), defaultdict(float))
        metrics = self.current
        metrics.pop("step_time", None)
        if not metrics:
            return
        metrics["time/generate_s"] = [spent["generate"]]
        metrics["time/score_s"] = [spent["rollout"] - spent["generate"]]
        if spent["steps"]:
            metrics["step_time"] = [spent["step"] / spent["steps"]]
            metrics["time/update_s"] = [spent["step"] - spent["rollout"]]

    def add_step(self, seconds: float) -> None:
        """Add an optimizer step's seconds."""
        self._seconds["train"]["step"] += seconds
        self._seconds["train"]["steps"] += 1


class StepTimer(TrainerCallback):
    """Measures whole optimizer steps: rollout, forward, backward and the optimizer."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._start = meter, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the step's seconds."""
        self._meter.add_step(time.perf_counter() - self._start)

"""Log metrics in a TRL trainer: means over all processes, and seconds of each part of a step."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

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

        TRL's `step_time` of a training step includes the rollout at its beginning.
        """
        spent = self._seconds.pop(self._mode(), defaultdict(float))
        metrics = self.current
        metrics["time/generate_s"] = [spent["generate"]]
        metrics["time/score_s"] = [spent["rollout"] - spent["generate"]]
        if self._mode() == "train":
            metrics["time/update_s"] = [sum(metrics.get("step_time", [])) - spent["rollout"]]

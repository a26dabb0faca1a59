"""What a rollout and its updates cost and are like, noted beside GRPO's own metrics."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from trl import GRPOTrainer

from hfllm.rl.config import PPOConfig


class MeteredTrainer(GRPOTrainer):
    """GRPOTrainer with `_note` (a mean over all processes) and `_timed` (seconds per part)."""

    args: PPOConfig
    model: PreTrainedModel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        super().__init__(*args, **kwargs)
        self._seconds: dict[str, float] = defaultdict(float)  # since the last log

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """Sum over processes."""
        return self.accelerator.reduce(x, reduction="sum")

    def _note(self, name: str, x: torch.Tensor) -> None:
        """Log the mean of `x` over all processes; NaN does not count."""
        x = x.detach().float().reshape(-1)
        x = x[~x.isnan()]
        total, count = self._sum(torch.stack([x.sum(), x.new_tensor(float(len(x)))])).tolist()
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][name].append(total / count if count else float("nan"))

    def training_step(self, model: torch.nn.Module, *args: Any) -> torch.Tensor:
        """GRPO's, timed."""
        with self._timed("step"):
            return super().training_step(model, *args)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds since the last log: generating, scoring and updating."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        if metrics:
            spent, self._seconds = self._seconds, defaultdict(float)
            metrics["time/generate_s"] = [spent["generate"]]
            metrics["time/score_s"] = [spent["rollout"] - spent["generate"]]
            if self.model.training:
                metrics["time/update_s"] = [spent["step"] - spent["rollout"]]
            if self.num_generations == 1:
                metrics.pop("frac_reward_zero_std", None)  # of groups of one answer: always 1
        super().log(logs, start_time)

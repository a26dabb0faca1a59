"""Chart: how the metrics that a stage logs are drawn, and what they mean to a reader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """One chart: the metrics drawn in it, their unit, meaning and direction.

    metrics: {key in metrics.jsonl: short label}; a key that ends in "*" matches every key with that
    prefix. unit: of the values. meaning: one sentence for a reader who does not know the metric.
    better: "up", "down", or "" if neither is better. log: a logarithmic vertical axis. over: the
    metric on the horizontal axis, in `x_unit`; default: the training step. folded: drawn among the
    charts that are folded away.
    """

    title: str
    metrics: dict[str, str]
    unit: str
    meaning: str = ""
    better: str = ""
    log: bool = False
    over: str = ""
    x_unit: str = "step"
    folded: bool = False

    def match(self, keys: list[str]) -> list[str]:
        """The `keys` that this chart draws, in the order of `metrics`."""
        chosen: list[str] = []
        for pattern in self.metrics:
            chosen += [k for k in keys if matches(pattern, k) and k not in chosen]
        return chosen

    def label(self, key: str) -> str:
        """The short label of a key: from `metrics`, else the last part of the key."""
        if key in self.metrics:
            return self.metrics[key]
        return key.removesuffix("/mean").split("/")[-1].replace("_", " ")[:14]


def matches(pattern: str, key: str) -> bool:
    """Whether a key equals the pattern, or has its prefix where the pattern ends in "*"."""
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern

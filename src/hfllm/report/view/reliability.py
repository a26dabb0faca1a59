"""Reliability of the models on each task: a plot, and the same bins as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hfllm.report.collect import Run, records
from hfllm.report.drawing.reliability_plot import Bin, reliability_plot
from hfllm.report.number_format import percent


@dataclass(frozen=True)
class Reliability:
    """One task: its plot, and table rows [model, confidence, right, 95% interval, n]."""

    task: str
    svg: str
    models: list[tuple[str, str]]  # name, colour class
    rows: list[list[str]]


def reliabilities(run: Run) -> list[Reliability]:
    """One per task with recorded calibration bins, all models in it."""
    out = []
    for step in run.steps:
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in records(step.results, "reliability"):
            found.setdefault(str(entry.get("task")), []).append(entry)
        out += [_reliability(task, entries) for task, entries in found.items()]
    return out


def _reliability(task: str, entries: list[dict[str, Any]]) -> Reliability:
    """`entries` are {"model", "bins"} of results.json, one per model."""
    name = task.replace("_", " ")
    models = [(str(entry["model"]), f"c{i % 6 + 1}") for i, entry in enumerate(entries)]
    keys = ("n", "confidence", "accuracy", "low", "high")
    bins = [[Bin(*(one[key] for key in keys)) for one in entry["bins"]] for entry in entries]
    rows = [
        [
            model,
            percent(one.confidence, 0),
            percent(one.accuracy, 0),
            f"{percent(one.low)} to {percent(one.high)}",
            f"{one.n:,}",
        ]
        for (model, _), own in zip(models, bins, strict=True)
        for one in own
    ]
    curves = [(color, own) for (_, color), own in zip(models, bins, strict=True)]
    return Reliability(name, reliability_plot(name, curves), models, rows)

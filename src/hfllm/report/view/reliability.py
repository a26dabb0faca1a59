"""Reliability plots: how often a model is right where it is how sure (Guo et al. 2017).

On the diagonal a model is right as often as its confidence says; below it, it is too sure. The area
of a dot grows with the answers in its bin, the line through it is the 95% interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

from hfllm.report.collect import Run, records
from hfllm.report.drawing.svg import Scale, drawing, tag, text
from hfllm.report.number_format import percent

SIDE, LEFT, TOP, BOTTOM = 200.0, 40.0, 22.0, 40.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Reliability:
    """One task's plot and the same as a table: [model, confidence, right, interval, n] rows."""

    task: str
    svg: str
    models: list[tuple[str, str]]  # name, colour class
    rows: list[list[str]]


def reliabilities(run: Run) -> list[Reliability]:
    """A plot for each task whose answers were choices, all models in it."""
    out = []
    for step in run.steps:
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in records(step.results, "reliability"):
            found.setdefault(str(entry.get("task")), []).append(entry)
        out += [_reliability(task, entries) for task, entries in found.items()]
    return out


def _reliability(task: str, entries: list[dict[str, Any]]) -> Reliability:
    colors = [f"c{i % 6 + 1}" for i in range(len(entries))]
    rows = [
        [
            str(entry["model"]),
            percent(one["confidence"], 0),
            percent(one["accuracy"], 0),
            f"{percent(one['low'])} to {percent(one['high'])}",
            f"{one['n']:,}",
        ]
        for entry in entries
        for one in entry["bins"]
    ]
    name = task.replace("_", " ")
    models = [(str(e["model"]), color) for e, color in zip(entries, colors, strict=True)]
    return Reliability(name, _plot(name, entries, colors), models, rows)


def _plot(name: str, entries: list[dict[str, Any]], colors: list[str]) -> str:
    x = Scale(0.0, 1.0, LEFT, LEFT + SIDE)
    y = Scale(0.0, 1.0, TOP + SIDE, TOP)
    parts = [text(0, 11, "right", "unit")]
    for mark in TICKS:
        parts.append(tag("line", x1=x(0), x2=x(1), y1=y(mark), y2=y(mark), class_="grid"))
        parts.append(text(LEFT - 6, y(mark) + 4, percent(mark, 0), "tick", "end"))
        parts.append(text(x(mark), y(0) + 16, percent(mark, 0), "tick", "middle"))
    parts.append(text(x(0.5), y(0) + 32, "confidence", "unit", "middle"))
    parts.append(tag("line", x1=x(0), x2=x(1), y1=y(0), y2=y(1), class_="axis"))
    for entry, color in zip(entries, colors, strict=True):
        total = sum(one["n"] for one in entry["bins"])
        points = [(x(one["confidence"]), y(one["accuracy"])) for one in entry["bins"]]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(tag("polyline", points=path, class_=f"line {color}"))
        for one, (px, py) in zip(entry["bins"], points, strict=True):
            ends = {"y1": y(one["low"]), "y2": y(one["high"])}
            parts.append(tag("line", x1=px, x2=px, **ends, class_=f"line raw {color}"))
            label = tag("title", f"{percent(one['confidence'])} sure: {one['n']:,} answers")
            radius = 2.0 + 5.0 * sqrt(one["n"] / total)
            parts.append(tag("circle", label, cx=px, cy=py, r=radius, class_=f"dot {color}"))
    words = f"Reliability of {name}: share right by confidence, {len(entries)} models"
    return drawing(LEFT + SIDE + 20, TOP + SIDE + BOTTOM, words, *parts, class_="reliability")

"""Reliability plots: accuracy by confidence (Guo et al. 2017, arXiv:1706.04599).

On the diagonal a model is right as often as its confidence says; below it, it is overconfident. The
area of a dot grows with the number of answers in its bin; the line through it is the 95% interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from hfllm.report.drawing.svg import Scale, drawing, tag, text
from hfllm.report.number_format import percent

SIDE, LEFT, TOP, BOTTOM = 200.0, 40.0, 22.0, 40.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Bin:
    """The answers of one bin of confidence; shares in [0, 1], low and high of the accuracy."""

    n: int
    confidence: float
    accuracy: float
    low: float
    high: float


def reliability_plot(name: str, models: list[tuple[str, list[Bin]]]) -> str:
    """One plot as SVG; `models` are (colour class, bins), `name` is for screen readers."""
    x = Scale(0.0, 1.0, LEFT, LEFT + SIDE)
    y = Scale(0.0, 1.0, TOP + SIDE, TOP)
    parts = [text(0, 11, "right", "unit")]
    for mark in TICKS:
        parts.append(tag("line", x1=x(0), x2=x(1), y1=y(mark), y2=y(mark), class_="grid"))
        parts.append(text(LEFT - 6, y(mark) + 4, percent(mark, 0), "tick", "end"))
        parts.append(text(x(mark), y(0) + 16, percent(mark, 0), "tick", "middle"))
    parts.append(text(x(0.5), y(0) + 32, "confidence", "unit", "middle"))
    parts.append(tag("line", x1=x(0), x2=x(1), y1=y(0), y2=y(1), class_="axis"))
    for color, bins in models:
        parts += _curve(color, bins, x, y)
    words = f"Reliability of {name}: share right by confidence, {len(models)} models"
    return drawing(LEFT + SIDE + 20, TOP + SIDE + BOTTOM, words, *parts, class_="reliability")


def _curve(color: str, bins: list[Bin], x: Scale, y: Scale) -> list[str]:
    """The line of one model, with a dot and an interval per bin."""
    total = sum(one.n for one in bins)
    points = [(x(one.confidence), y(one.accuracy)) for one in bins]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    parts = [tag("polyline", points=path, class_=f"line {color}")]
    for one, (px, py) in zip(bins, points, strict=True):
        ends = {"y1": y(one.low), "y2": y(one.high)}
        parts.append(tag("line", x1=px, x2=px, **ends, class_=f"line raw {color}"))
        label = tag("title", f"{percent(one.confidence)} sure: {one.n:,} answers")
        radius = 2.0 + 5.0 * sqrt(one.n / total)
        parts.append(tag("circle", label, cx=px, cy=py, r=radius, class_=f"dot {color}"))
    return parts

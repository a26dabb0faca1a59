"""Line charts of training metrics: raw values in a light colour, a running mean over noisy ones.

Labels are at the ends of the lines instead of in a legend; the y axis names its unit, and whether
it is logarithmic. Long runs are thinned to the lowest and the highest value of each of 160
segments, which keeps every spike that a mean would hide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from hfllm.report.drawing.svg import (
    CHAR,
    Scale,
    drawing,
    log_ticks,
    nice_step,
    tag,
    text,
    tick_label,
    ticks,
)
from hfllm.report.number_format import short

WIDTH, HEIGHT, TOP, BOTTOM = 340.0, 204.0, 26.0, 26.0
BOLD = 7.6  # mean width of a bold digit at 12 px
SEGMENTS = 160
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A labelled series of (x, y)."""

    label: str
    points: Points


def line_chart(lines: list[Line], unit: str, x_unit: str = "step", log: bool = False) -> str:
    """One chart as SVG.

    Args:
        lines: at least one, each with at least one point; values are finite.
        unit: of the values, on the y axis.
        x_unit: of the x axis.
        log: logarithmic y axis, if the values are positive and their range is wide.
    """
    values = [y for line in lines for _, y in line.points]
    log = log and min(values) > 0 and max(values) / min(values) > 2.5
    marks = log_ticks(min(values), max(values)) if log else ticks(min(values), max(values))
    step = marks[1] - marks[0]
    labels = [tick_label(m, m if log else step) for m in marks]
    left = max(len(word) for word in [*labels, x_unit]) * CHAR + 10
    right = WIDTH - _margin(lines)
    y = Scale(marks[0], marks[-1], HEIGHT - BOTTOM, TOP, log)
    xs = [x for line in lines for x, _ in line.points]
    x = Scale(min(xs), max(xs), left + 4, right)
    parts = [text(0, 11, f"{unit} (log scale)" if log else unit, "unit")]
    for mark, word in zip(marks, labels, strict=True):
        parts.append(tag("line", x1=left, x2=right, y1=y(mark), y2=y(mark), class_="grid"))
        parts.append(text(left - 6, y(mark) + 4, word, "tick", "end"))
    parts.append(_x_axis(x, x_unit, left - 6))
    parts += [_draw(line, number, x, y) for number, line in enumerate(lines, start=1)]
    parts.append(_end_labels(lines, right + 6, y))
    words = "; ".join(f"{n.label or unit}: last {short(n.points[-1][1])}" for n in lines)
    return drawing(WIDTH, HEIGHT, f"Line chart, {unit} by {x_unit}. {words}", *parts)


def drawn(points: Points) -> Points:
    """The points of the strong line: the points themselves, or their running mean if noisy."""
    return smoothed(points) if is_noisy(points) else points


def _margin(lines: list[Line]) -> float:
    """Room for the labels at the right end."""
    values = max(len(short(drawn(line.points)[-1][1])) for line in lines) * BOLD
    names = max(len(line.label) for line in lines) * CHAR if len(lines) > 1 else 0
    return max(values, names) + 9


def _x_axis(x: Scale, unit: str, unit_end: float) -> str:
    """The x axis: ticks within the range of the data (integers for steps), and the unit."""
    base, step = HEIGHT - BOTTOM, 1.0
    marks = [x.low]
    if x.high > x.low:
        step = max(1.0 if unit == "step" else 0.0, nice_step(x.high - x.low, 4))
        first, last = math.ceil(x.low / step - 1e-9), math.floor(x.high / step + 1e-9)
        marks = [i * step for i in range(first, last + 1)]
    parts = [tag("line", x1=x.start - 4, x2=x.end, y1=base, y2=base, class_="axis")]
    parts += [tag("line", x1=x(m), x2=x(m), y1=base, y2=base + 4, class_="axis") for m in marks]
    for mark in marks:
        word = tick_label(mark, step)
        if x(mark) - len(word) * CHAR / 2 > unit_end + 3:  # not over the unit
            parts.append(text(x(mark), base + 16, word, "tick", "middle"))
    return "".join([*parts, text(unit_end, base + 16, unit, "tick", "end")])


def _draw(line: Line, number: int, x: Scale, y: Scale) -> str:
    """The line with a dot at its end, or a dot per point if there are few."""
    color = f"c{(number - 1) % 6 + 1}"
    parts, strong = [], drawn(line.points)
    if strong is not line.points:
        parts.append(_path(thinned(line.points), x, y, f"line raw {color}"))
    parts.append(_path(thinned(strong), x, y, f"line {color} d{number}"))
    few = len(line.points) <= 12
    radius = 2.4 if few else 3.0
    for px, py in line.points if few else strong[-1:]:
        label = tag("title", f"{px:g}: {short(py)}")
        parts.append(tag("circle", label, cx=x(px), cy=y(py), r=radius, class_=f"dot {color}"))
    return "".join(parts)


def _path(points: Points, x: Scale, y: Scale, class_: str) -> str:
    steps = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in points)
    return tag("polyline", points=steps, class_=class_)


def _end_labels(lines: list[Line], at: float, y: Scale) -> str:
    """Last value and name at the end of each line, moved apart if they would overlap."""
    gap = 27.0 if len(lines) > 1 else 14.0
    ends = [drawn(line.points)[-1][1] for line in lines]
    order = sorted(range(len(lines)), key=lambda i: y(ends[i]))
    heights: dict[int, float] = {}
    last = TOP - gap
    for i in order:
        last = heights[i] = max(y(ends[i]), last + gap)
    over = max(0.0, last - (HEIGHT - BOTTOM - (12 if len(lines) > 1 else 0)))
    parts = []
    for i, height in heights.items():
        color = f"t{i % 6 + 1}"
        parts.append(text(at, height - over + 4, short(ends[i]), f"end {color}"))
        if len(lines) > 1:
            parts.append(text(at, height - over + 16, lines[i].label, f"tick {color}"))
    return "".join(parts)


def is_noisy(points: Points) -> bool:
    """Whether a running mean is easier to read: the points jump, and there are at least 25.

    That is, the median jump exceeds 2% of the range of the middle 90% of the values.
    """
    if len(points) < 25:
        return False
    values = [value for _, value in points]
    jumps = median(abs(b - a) for a, b in zip(values, values[1:], strict=False))
    cut = sorted(values)[len(values) // 20 : -(len(values) // 20)]
    return jumps > 0.02 * (cut[-1] - cut[0])


def window(points: Points) -> int:
    """Number of points of the running mean, odd: a tenth of the curve, at most 101."""
    return min(101, max(3, len(points) // 10) | 1)


def smoothed(points: Points) -> Points:
    """Centred running mean; narrower at the start, where curves fall fast; one-sided at the end."""
    half = window(points) // 2
    out = []
    for i, (x, _) in enumerate(points):
        near = [value for _, value in points[max(0, i - half) : i + min(half, i) + 1]]
        out.append((x, sum(near) / len(near)))
    return out


def thinned(points: Points) -> Points:
    """The lowest and the highest point of each segment, and the first and the last point."""
    if len(points) <= 2 * SEGMENTS:
        return points
    size = len(points) / SEGMENTS
    keep = {0, len(points) - 1}
    for i in range(SEGMENTS):
        segment = range(int(i * size), int((i + 1) * size))
        keep |= {min(segment, key=lambda j: points[j][1]), max(segment, key=lambda j: points[j][1])}
    return [points[i] for i in sorted(keep)]

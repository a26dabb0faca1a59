"""Stacked bars for the token ledger, and values with their 95% intervals for the results."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.report.drawing.svg import Scale, drawing, tag

WIDTH, HEIGHT = 400.0, 18.0
Part = tuple[str, str, float]  # name, colour class, size


@dataclass(frozen=True)
class Bar:
    """One bar with its label and note, which are HTML outside the SVG and so are not scaled."""

    label: str
    note: str
    svg: str


def stacked_bar(label: str, note: str, parts: list[Part], unit: str) -> Bar:
    """A bar of full width whose parts have the widths of their shares.

    Args:
        label: text before the note.
        note: text above the bar.
        parts: (name, colour class, size); a negative size, such as a replacement that is longer
            than what it replaces, has no width.
        unit: of the sizes, for the tooltips.
    """
    total = sum(max(0.0, size) for _, _, size in parts)
    drawn, x = [], 0.0
    for name, color, size in parts if total else []:
        width = WIDTH * max(0.0, size) / total
        if width:
            words = tag("title", _plain(f"{name}: {size:,.0f} {unit} ({size / total:.1%})"))
            gap = 1.0 if width > 3 else 0.0
            box = {"x": x, "y": 0, "width": width - gap, "height": HEIGHT}
            drawn.append(tag("rect", words, class_=f"fill {color}", **box))
        x += width
    name = f"{label}: {note}"
    svg = drawing(WIDTH, HEIGHT, name, *drawn, class_="stack", preserveAspectRatio="none")
    return Bar(label, note, svg)


def _plain(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")


@dataclass(frozen=True)
class ColoredInterval:
    """A value with the ends of its 95% interval, and the colour class of its model."""

    color: str
    value: float
    low: float
    high: float


def interval_plot(rows: list[ColoredInterval | None], span: tuple[float, float], label: str) -> str:
    """One line per model on a common scale.

    Args:
        rows: one per model; None leaves its line empty.
        span: values at the left and right end of the scale.
        label: description for screen readers.
    """
    width, pitch = 150.0, 6.0
    x = Scale(span[0], span[1], 5, width - 5)
    height = pitch * len(rows) + 4
    parts = [tag("line", x1=x(end), x2=x(end), y1=1, y2=height - 1, class_="grid") for end in span]
    for i, row in enumerate(rows):
        if row is None:
            continue
        y = 2 + pitch * (i + 0.5)
        low, high = max(row.low, span[0]), min(row.high, span[1])
        parts.append(tag("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"bar {row.color}"))
        parts.append(tag("circle", cx=x(row.value), cy=y, r=2.8, class_=f"dot {row.color}"))
    return drawing(width, height, label, *parts, class_="interval")

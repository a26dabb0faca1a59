"""Stacked bars for the token ledger, and values with their 95% intervals for the results."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.report.svg import Scale, drawing, tag, text

WIDTH = 380.0


@dataclass(frozen=True)
class Bar:
    """One bar: parts as (name, colour class, size); sizes below zero take no room."""

    label: str
    note: str
    parts: list[tuple[str, str, float]]


def stacked_bars(bars: list[Bar], unit: str) -> str:
    """Each bar fills the width: the shares of its parts are what is compared."""
    pitch, height = 42.0, 18.0
    drawn = []
    for i, bar in enumerate(bars):
        y = i * pitch
        drawn += [text(0, y + 12, bar.label, "label"), text(WIDTH, y + 12, bar.note, "tick", "end")]
        drawn.append(_segments(bar, y + 18, height, unit))
    words = "; ".join(f"{bar.label}: {bar.note}" for bar in bars)
    return drawing(WIDTH, len(bars) * pitch, f"Stacked bars by {unit}. {words}", *drawn)


def _segments(bar: Bar, y: float, height: float, unit: str) -> str:
    sized = [(name, color, size) for name, color, size in bar.parts if size > 0]
    total = sum(size for _, _, size in sized)
    if not total:
        return tag("rect", x=0, y=y, width=WIDTH, height=height, class_="empty")
    drawn, x = [], 0.0
    for name, color, size in sized:
        width = WIDTH * size / total
        label = tag("title", _plain(f"{name}: {size:,.0f} {unit} ({100 * size / total:.1f}%)"))
        gap = 1.0 if width > 3 else 0.0
        drawn.append(
            tag("rect", label, x=x, y=y, width=width - gap, height=height, class_=f"fill {color}")
        )
        x += width
    return "".join(drawn)


def _plain(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95% interval."""

    color: str
    value: float
    low: float
    high: float


def interval_plot(rows: list[Interval | None], span: tuple[float, float], label: str) -> str:
    """One line per model on a common scale; a gap where a model has no value."""
    width, pitch = 150.0, 13.0
    x = Scale(span[0], span[1], 5, width - 5)
    height = pitch * len(rows) + 4
    parts = [tag("line", x1=x(end), x2=x(end), y1=1, y2=height - 1, class_="grid") for end in span]
    for i, row in enumerate(rows):
        if row is None:
            continue
        y = 2 + pitch * (i + 0.5)
        low, high = max(row.low, span[0]), min(row.high, span[1])
        parts.append(tag("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"bar {row.color}"))
        parts.append(tag("circle", cx=x(row.value), cy=y, r=3.6, class_=f"dot {row.color}"))
    return drawing(width, height, label, *parts, class_="interval")

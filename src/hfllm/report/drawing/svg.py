"""Elements of inline SVG, scales and ticks.

Without a chart library: the page must open offline, and a bundled library would be larger than the
report. Colours are CSS classes (`c1` ... `c8`), so that one drawing works in light and dark mode
and in print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

CHAR = 6.1  # mean width of a character at 11 px, system sans


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element; `content` is markup; attributes `class_`, `font_size` give class, font-size."""
    parts = []
    for key, value in attributes.items():
        if value is not None:
            shown = (
                f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
            )
            parts.append(f" {key.rstrip('_').replace('_', '-')}={quoteattr(shown)}")
    inner = "".join(content)
    return f"<{name}{''.join(parts)}>{inner}</{name}>" if inner else f"<{name}{''.join(parts)}/>"


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> str:
    """A text element; (x, y) is on its baseline, `words` are escaped."""
    return tag(
        "text", escape(words), x=float(x), y=float(y), class_=class_ or None, text_anchor=anchor
    )


def drawing(
    width: float, height: float, label: str, *content: str, class_: str = "chart", **attributes: str
) -> str:
    """The svg element; `label` describes it for screen readers, sizes are in pixels."""
    box = f"0 0 {width:g} {height:g}"
    return tag(
        "svg", *content, viewBox=box, class_=class_, role="img", aria_label=label, **attributes
    )


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] of the data to [start, end] of the drawing, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value in the drawing."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def nice_step(span: float, count: int) -> float:
    """The round distance (1, 2, 2.5, 5 x 10^k) that gives about `count` intervals."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values from at or below `low` to at or above `high`."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = nice_step(high - low, count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Values 1, 2, 5 x 10^k around a positive range; powers of ten only where it is wide."""
    wide = high / low > 300
    steps = (1,) if wide else (1, 2, 5)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    grid = [m * 10.0**p for p in powers for m in steps]
    first = max(i for i, value in enumerate(grid) if value <= low * 1.0001)
    last = min(i for i, value in enumerate(grid) if value >= high * 0.9999)
    return grid[first : last + 1]


def tick_label(value: float, step: float) -> str:
    """A value with as many digits as the step between ticks needs: 0.25, 1,500, 20k, 3e-4."""
    if value == 0:
        return "0"
    if abs(value) < 1e-2 and step < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += 0 if abs(round(step, digits) - step) < 1e-9 * step else 1
    return f"{value:,.{digits}f}"

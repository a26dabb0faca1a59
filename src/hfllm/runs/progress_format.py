"""Numbers as progress lines and plans print them."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """`1 row`, `2,000 rows`; of a noun whose plural ends in s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min, 5 d 2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 72 else f"{hours // 24} d {hours % 24} h"


def large(n: float) -> str:
    """Three significant digits and a unit: 12.3M, 1.24B; all digits below 10,000."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(n) >= size:
            scale = 1e3 if unit == "k" else size
            return f"{n / scale:.3g}{unit}"
    return f"{n:,.0f}"


def scientific(n: float) -> str:
    """3.8e+25 as 3.80e25."""
    mantissa, exponent = f"{n:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"

"""Format numbers for the report: short in a tile, exact in a table.

Every value of a run folder passes `number` first, because a manifest may be of an older version,
half written or edited by hand: anything but a finite number becomes None, which is shown as a dash.
"""

from __future__ import annotations

import math
from typing import Any

DASH = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> float | None:
    """A finite float, or None for anything else (bool, text, NaN, missing)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def exact(value: Any) -> str:
    """All digits of a whole number, with separators; fractions with up to four decimals."""
    found = number(value)
    if found is None:
        return DASH
    if found == int(found):
        return f"{int(found):,}"
    return f"{found:,.4f}".rstrip("0") if abs(found) >= 1 else f"{found:.4g}"


def compact(value: Any) -> str:
    """Three significant digits and a unit: 12.3M; all digits of a whole number below 10,000."""
    found = number(value)
    if found is None:
        return DASH
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        scaled = abs(found) / size
        if scaled >= (10 if unit == "k" else 0.9995):
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{found / size:.{digits}f}{unit}"
    return exact(found) if found == int(found) else short(found)


def short(value: Any) -> str:
    """Three significant digits: 0.0312, 1.71, 17.1, 171, 17.1k; tiny values as 3.0 × 10⁻⁵."""
    found = number(value)
    if found is None:
        return DASH
    size = abs(found)
    if size >= 10_000:
        return compact(found)
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3), (0.001, 4)):
        if size >= limit:
            return f"{found:,.{digits}f}"
    return "0" if found == 0 else scientific(found, 1)


def scientific(value: Any, digits: int = 2) -> str:
    """Scientific notation: 1.23 × 10¹⁵ (FLOPs, learning rates)."""
    found = number(value)
    if found is None:
        return DASH
    if found == 0:
        return "0"
    mantissa, exponent = f"{found:.{digits}e}".split("e")
    return f"{mantissa}\u202f×\u202f10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def percent(value: Any, digits: int = 1) -> str:
    """A share of 1 in percent: 83.1%."""
    found = number(value)
    return DASH if found is None else f"{100 * found:.{digits}f}%"


def duration(seconds: Any) -> str:
    """Seconds in the two largest units: 41 s, 12 min 5 s, 3 h 20 min, 2 d 4 h."""
    found = number(seconds)
    if found is None:
        return DASH
    if found < 59.95:
        return f"{found:.1f} s" if found < 10 else f"{found:.0f} s"
    whole = round(found)
    for size, unit, small, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {small_unit}"
    return f"{whole} s"

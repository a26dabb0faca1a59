"""The paired differences in words: each column less the nearest one to its left with the test."""

from __future__ import annotations

from collections.abc import Sequence

from hfllm.evaluation.measure import SHARE, measure_of
from hfllm.report.compare.asked import Line
from hfllm.report.compare.facts import Row
from hfllm.report.number_format import DASH, exact, short
from hfllm.report.view.results import Table


def gap_rows(
    differences: Sequence[Line], labels: Sequence[str], shown: Sequence[Table]
) -> list[Row]:
    """A row per test and measure of the tables, "+3.2 points [1.0, 5.4], n 200" a column."""
    names = {row.name for table in shown for row in table.rows}
    found: dict[str, dict[str, str]] = {}
    for gap in differences:
        task = str(gap["task"]).replace("_", " ")
        name = f"{task[:1].upper()}{task[1:]}: {measure_of(gap['metric']).words}"
        if any(known == name or known.startswith(f"{name} (chance") for known in names):
            found.setdefault(name, {})[gap["model"]] = _words(gap)
    return [(name, [cells.get(label, DASH) for label in labels]) for name, cells in found.items()]


def _words(gap: Line) -> str:
    share = measure_of(gap["metric"]).unit == SHARE
    value, low, high = (gap[key] * (100 if share else 1) for key in ("value", "low", "high"))

    def show(number: float) -> str:
        return f"{number:.1f}" if share else short(number)

    sign = "+" if value > 0 else ""
    points = " points" if share else ""
    return f"{sign}{show(value)}{points} [{show(low)}, {show(high)}], n {exact(gap['n'])}"

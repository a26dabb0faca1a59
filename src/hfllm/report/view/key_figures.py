"""Key figures that several stages share (`Stage.key_figure`)."""

from __future__ import annotations

from hfllm.recipe.stage import Figure
from hfllm.report.collect import StepView
from hfllm.report.number_format import compact


def rows_written(view: StepView) -> Figure | tuple[()]:
    """Rows of all files that a data step wrote, and the unit; empty if it recorded none."""
    counts = [key for key in view.section("metrics") if key.startswith("rows/")]
    rows = sum(view.metric(key) or 0 for key in counts)
    return (compact(rows), "rows") if rows else ()

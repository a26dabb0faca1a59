"""The charts of a training step: those that its stage declares, then all other logged metrics.

The others are folded away, and so are curves of two points and charts that the stage declares as
`folded`. A value that is not finite cannot be drawn: it is counted in a remark
under the chart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean

from hfllm.recipe.stage import Chart
from hfllm.report.collect import Run, StepView
from hfllm.report.drawing.line_chart import Line, line_chart
from hfllm.report.number_format import exact, number, scientific, short

HIDDEN = {"step", "time_s", "epoch", "num_tokens", "total_flos", "num_input_tokens_seen"}
FIGURES = 2  # charts shown at once; a stage declares the most important first
MEANS = 10  # points of a chart whose x axis is another metric
CLOCKS = ("_runtime", "_per_second")  # speed of single evaluations: in the table, not drawn


@dataclass(frozen=True)
class ChartView:
    """A drawn chart with its title, its meaning, and a remark on values that were not drawn."""

    title: str
    meaning: str
    svg: str
    remark: str = ""


@dataclass(frozen=True)
class Training:
    """A training step's charts and the table of all its metrics."""

    step: str
    stage: str
    status: str
    summary: str
    figures: list[ChartView] = field(default_factory=list)
    more: list[ChartView] = field(default_factory=list)
    table: list[dict[str, str]] = field(default_factory=list)


def trainings(run: Run) -> list[Training]:
    """The steps that logged metrics, in running order."""
    return [_training(step) for step in run.steps if step.metrics]


def series(step: StepView, key: str) -> tuple[list[tuple[float, float]], list[int]]:
    """(step, value) points in order, and the steps whose value is not finite.

    A resumed run logs the steps after its checkpoint again: the later line counts.
    """
    found: dict[float, float] = {}
    for row in step.metrics:
        at, value = number(row.get("step")), row.get(key)
        if value in ("nan", "inf", "-inf"):  # as metrics.jsonl writes what JSON has no number for
            value = float(value)
        if at is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
            found[at] = float(value)
    points = [(at, value) for at, value in sorted(found.items()) if math.isfinite(value)]
    return points, [int(at) for at, value in sorted(found.items()) if not math.isfinite(value)]


def over(step: StepView, key: str, other: str) -> list[tuple[float, float]]:
    """(other metric, value) points, ordered by the other metric: means of at most MEANS bins."""
    at = dict(series(step, other)[0])
    pairs = sorted((at[x], y) for x, y in series(step, key)[0] if x in at)
    size = max(1, math.ceil(len(pairs) / MEANS))
    bins = [pairs[i : i + size] for i in range(0, len(pairs), size)]
    return [(fmean(x for x, _ in one), fmean(y for _, y in one)) for one in bins]


def _training(step: StepView) -> Training:
    keys = list(dict.fromkeys(k for row in step.metrics for k in row if k not in HIDDEN))
    figures: list[ChartView] = []
    folded: list[ChartView] = []
    used: set[str] = set()
    for chart in step.stage.charts:
        chosen = chart.match(keys)
        used |= set(chosen)
        if figure := _figure(step, chart, chosen):
            (figures if _stands_out(step, chart, chosen) else folded).append(figure)
    rest = [
        Chart(k.replace("_", " "), {k: ""}, "value")
        for k in keys
        if k not in used and not k.endswith(CLOCKS)
    ]
    more = [_figure(step, chart, list(chart.metrics)) for chart in rest]
    last = max((number(row.get("step")) or 0 for row in step.metrics), default=0)
    return Training(
        step=step.name,
        stage=step.stage.name,
        status=step.state,
        summary=_summary(step, last),
        figures=figures[:FIGURES],
        more=figures[FIGURES:] + folded + [figure for figure in more if figure],
        table=[row for row in (_row(step, key) for key in keys) if row],
    )


def _stands_out(step: StepView, chart: Chart, keys: list[str]) -> bool:
    """Whether the chart is shown at once: a value that is not finite, or a curve that says much."""
    found = [series(step, key) for key in keys]
    if any(broken for _, broken in found):
        return True
    return not chart.folded and any(len(points) > 2 for points, _ in found)


def _summary(step: StepView, last: float) -> str:
    """Steps, tokens, and epochs of each source; nothing for a stage that trains nothing."""
    if step.stage.charts and not step.stage.trains:
        return ""
    parts = [f"{exact(last)} steps"]
    if step.figure("tokens"):
        parts.append(f"{exact(step.figure('tokens'))} tokens")
    for key, value in step.section("metrics").items():
        if key.startswith("epochs/"):
            parts.append(f"{short(value)} epochs of {key.removeprefix('epochs/')}")
    return ", ".join(parts)


def _figure(step: StepView, chart: Chart, keys: list[str]) -> ChartView | None:
    """The drawn chart; None if no series has two points (the table has the values)."""
    lines, missing = [], []
    for key in keys:
        points, broken = series(step, key)
        missing += broken
        if chart.over:
            points = over(step, key, chart.over)
        if points:
            lines.append(Line(chart.label(key), points))
    if not any(len(line.points) > 1 for line in lines):
        return None
    svg = line_chart(lines[:6], chart.unit, chart.x_unit, chart.log)
    return ChartView(chart.title, chart.meaning, svg, _remark(len(lines), missing))


def _remark(lines: int, missing: list[int]) -> str:
    parts = []
    if missing:
        steps = ", ".join(str(at) for at in sorted(set(missing))[:5])
        parts.append(f"{len(missing)} value(s) not finite, first at step {steps}.")
    if lines > 6:
        parts.append(f"{lines - 6} more series are in the table.")
    return " ".join(parts)


def _row(step: StepView, key: str) -> dict[str, str] | None:
    points, _ = series(step, key)
    if not points:
        return None
    values = [value for _, value in points]
    show = scientific if max(map(abs, values)) < 1e-3 and any(values) else short
    return {
        "key": key,
        "first": show(values[0]),
        "last": show(values[-1]),
        "low": show(min(values)),
        "high": show(max(values)),
        "n": exact(len(values)),
    }

"""Tables of results: models side by side, each value with its 95% interval and n.

Every model is compared with the one to its left, which shows what its stage changed. If the
evaluation recorded the paired difference on the same prompts, its interval decides; otherwise a
difference counts only if the two intervals do not overlap, which is stricter. A mark says whether
the value became better or worse, by the declaration of the metric (evaluation/measure.py); an
undeclared metric is shown without meaning and direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.measure import SHARE, Measure, measure_of
from hfllm.report.collect import Run, StepView, records
from hfllm.report.drawing.bars import ColoredInterval, interval_plot
from hfllm.report.number_format import exact, number, percent, short
from hfllm.report.view.repeated_results import Result, merge_summary, summary_task, without_repeats
from hfllm.report.view.same_answers import same_answers

BETTER, WORSE, OTHER = "better", "worse", "different"


@dataclass(frozen=True)
class Cell:
    """One model's value in one metric."""

    value: str
    interval: str = ""
    mark: str = ""  # better | worse | different, against the model to the left
    n: str = ""
    rows: float = 0.0  # n as a number


@dataclass(frozen=True)
class TableRow:
    """One task and metric over all models; both names are in words."""

    task: str
    metric: str
    cells: list[Cell]
    plot: str
    n: str
    secondary: bool  # folded away; never if a difference is marked

    @property
    def name(self) -> str:
        """The task and what was measured: "Known facts: right"."""
        return f"{self.task[:1].upper()}{self.task[1:]}: {self.metric}"

    @property
    def verdict(self) -> str:
        """The mark of the last model that was measured."""
        return next((cell.mark for cell in reversed(self.cells) if cell.n), "")


@dataclass(frozen=True)
class Table:
    """Results of models that share tasks."""

    step: str
    models: list[str]
    rows: list[TableRow]
    meanings: list[tuple[str, str]]
    summary_task: str = ALL_ANSWERS.replace("_", " ")  # its means are over all answers
    same: dict[tuple[str, str], int] = field(default_factory=dict)  # same_answers.py


def tables(run: Run) -> list[Table]:
    """The tables of every step with results; models without a common task are in separate ones."""
    out = []
    for step in run.steps:
        results = [r for r in records(step.results, "results") if "model" in r]
        summary = summary_task(results)
        differences = merge_summary(records(step.results, "differences"), summary)
        results, differences = without_repeats(merge_summary(results, summary), differences)
        models = run.in_order(str(r["model"]) for r in results)
        found_tables = [
            replace(
                _table(step, group, results, differences, summary),
                same=same_answers(step.samples, group),
            )
            for group in _groups(models, results)
        ]
        out += sorted(found_tables, key=lambda table: -len(table.rows))
    return out


def settings(run: Run) -> list[dict[str, str]]:
    """How the models were prompted and decoded, as the evaluation recorded it."""
    out = []
    for step in run.steps:
        for entry in records(step.results, "settings"):
            rest = {k: v for k, v in entry.items() if k != "model" and v is not None}
            words = ", ".join(
                f"{k.replace('_', ' ')}: {' '.join(map(str, v)) if isinstance(v, list) else v}"
                for k, v in rest.items()
            )
            out.append({"model": str(entry.get("model", "")), "words": words})
    return out


def _groups(models: list[str], results: list[Result]) -> list[list[str]]:
    """Groups of models that share tasks; a reward model alone in its task is its own group."""
    tasks = {m: {str(r.get("task")) for r in results if str(r["model"]) == m} for m in models}
    groups: list[list[str]] = []
    for model in models:
        meeting = [g for g in groups if any(tasks[model] & tasks[other] for other in g)]
        groups = [g for g in groups if g not in meeting]
        groups.append([m for g in meeting for m in g] + [model])
    return groups


def _table(
    step: StepView,
    models: list[str],
    results: list[Result],
    differences: list[Result],
    summary: str,
) -> Table:
    cells = {
        (str(r.get("task")), str(r.get("metric")), str(r["model"])): r
        for r in results
        if str(r["model"]) in models
    }
    paired = {
        (str(d.get("task")), str(d.get("metric")), str(d.get("model")), str(d.get("baseline"))): d
        for d in differences
    }
    keys = list(dict.fromkeys((task, metric) for task, metric, _ in cells))
    tasks = list(dict.fromkeys(task for task, _ in keys))
    keys.sort(key=lambda key: (key[0] != summary, tasks.index(key[0])))  # the summary first
    rows = [
        _row(
            key,
            [cells.get((*key, m)) for m in models],
            paired,
            [metric for task, metric in keys if task == key[0]],
        )
        for key in keys
    ]
    measures = [measure_of(metric) for _, metric in keys]
    meanings = list(dict.fromkeys((m.words, m.meaning) for m in measures if m.meaning))
    return Table(step.name, models, rows, meanings, summary.replace("_", " "))


def _row(
    key: tuple[str, str],
    found: list[Result | None],
    paired: dict[Any, Result],
    metrics: list[str],
) -> TableRow:
    """One row of a table.

    Args:
        key: task and metric.
        found: the result of each model, None where it has none.
        paired: recorded differences by (task, metric, model, baseline).
        metrics: all metrics of the task.
    """
    task, metric = key
    measure = measure_of(metric)
    values = [number(r.get("value")) for r in found if r]
    share = measure.unit == SHARE and all(v is None or 0 <= v <= 1 for v in values)
    cells, left = [], None
    for result in found:
        mark = ""
        if left and result:
            pair = paired.get((*key, str(result["model"]), str(left["model"])))
            mark = _mark(_direction(left, result, pair), measure)
        cells.append(_cell(result, mark, share))
        left = result or left
    sizes = list(dict.fromkeys(cell.n for cell in cells if cell.n))
    name = f"{task.replace('_', ' ')}, {measure.words}"
    return TableRow(
        task=task.replace("_", " "),
        metric=measure.words + _chance(found),
        cells=cells,
        plot=_plot(found, share, f"{name}: values with their 95% intervals"),
        n=" / ".join(sizes),
        secondary=measure.is_folded(task, metrics) and not any(cell.mark for cell in cells),
    )


def _chance(found: list[Result | None]) -> str:
    """The value of random guessing, if it is known."""
    known = [chance for r in found if r and (chance := number(r.get("chance"))) is not None]
    return f" (chance {percent(known[0])})" if known else ""


def _ends(result: Result | None) -> tuple[float, float] | None:
    low, high = (number(result.get(end)) if result else None for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def _direction(left: Result, right: Result, pair: Result | None) -> int:
    """+1 or -1 if the value rose or fell beyond the 95% intervals, else 0."""
    gap = _ends(pair)
    if gap:
        return (gap[0] > 0) - (gap[1] < 0)
    a, b = _ends(left), _ends(right)
    return (b[0] > a[1]) - (b[1] < a[0]) if a and b else 0


def _mark(direction: int, measure: Measure) -> str:
    if not direction:
        return ""
    if not measure.better:
        return OTHER
    return BETTER if (direction > 0) == (measure.better == "up") else WORSE


def _cell(result: Result | None, mark: str, share: bool) -> Cell:
    value = number(result.get("value")) if result else None
    if result is None or value is None:
        return Cell("–")
    show = percent if share else short
    ends = _ends(result)
    inside = ", ".join(show(end).removesuffix("%") for end in ends) if ends else ""
    n = exact(result["n"]) if number(result.get("n")) is not None else ""
    rows = number(result.get("n")) or 0.0
    return Cell(show(value), f"[{inside}]" if inside else "", mark, n, rows)


def _plot(found: list[Result | None], share: bool, label: str) -> str:
    drawn: list[ColoredInterval | None] = []
    for i, result in enumerate(found):
        value = number(result.get("value")) if result else None
        if value is None:
            drawn.append(None)
        else:
            low, high = _ends(result) or (value, value)
            drawn.append(ColoredInterval(f"c{i % 6 + 1}", value, low, high))
    there = [d for d in drawn if d]
    if not there:
        return ""
    low, high = min(d.low for d in there), max(d.high for d in there)
    pad = (high - low) * 0.08 or abs(low) * 0.1 or 1.0
    return interval_plot(drawn, (0.0, 1.0) if share else (low - pad, high + pad), label)

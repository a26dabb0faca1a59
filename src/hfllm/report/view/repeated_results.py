"""Results that would be told twice: means over one task alone, and metrics that say the same.

The means over all answers are a task of their own, unless only one task has answers: then they are
that task's; a mean that equals one task's is left out. So is a metric that another one declares
itself to stand for (`Measure.instead_of`) where both have the same values; its paired differences
go to the one that stays.
"""

from __future__ import annotations

from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.measure import measure_of

Result = dict[str, Any]  # a result or a difference of results.json, as read


def summary_task(results: list[Result]) -> str:
    """The task whose metrics equal the means over all answers, if only one task has answers."""
    found: dict[str, dict[tuple[str, str], Any]] = {}
    for r in results:
        key = (str(r["model"]), str(r.get("metric")))
        found.setdefault(str(r.get("task")), {})[key] = (r.get("value"), r.get("n"))
    means = found.pop(ALL_ANSWERS, {})
    for task, values in found.items():
        shared = means.keys() & values.keys()
        if shared and all(means[key] == values[key] for key in shared):
            return task
    return ALL_ANSWERS


def merge_summary(rows: list[Result], summary: str) -> list[Result]:
    """Results or differences; means over all answers belong to `summary`, unless it has its own."""
    if summary == ALL_ANSWERS:
        return rows

    def key(row: Result) -> tuple[str, ...]:
        return tuple(str(row.get(name)) for name in ("model", "baseline", "metric"))

    apart = [row for row in rows if row.get("task") != ALL_ANSWERS]
    known = {key(row) for row in apart if row.get("task") == summary}
    return apart + [
        row | {"task": summary}
        for row in rows
        if row.get("task") == ALL_ANSWERS and key(row) not in known
    ]


def without_repeats(
    results: list[Result], differences: list[Result]
) -> tuple[list[Result], list[Result]]:
    """Results and differences without the metrics that a clearer one of the same task repeats."""
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for r in results:
        key = (str(r.get("task")), str(r.get("metric")))
        values.setdefault(key, {})[str(r["model"])] = (r.get("value"), r.get("n"))
    repeated = {  # of the means over all answers, where one task alone has the metric
        (ALL_ANSWERS, metric)
        for (task, metric), found in values.items()
        if task != ALL_ANSWERS and "/" not in task and values.get((ALL_ANSWERS, metric)) == found
    }
    clearer = {
        (task, other): metric
        for (task, metric), found in values.items()
        if (other := measure_of(metric).instead_of) and values.get((task, other)) == found
    }

    def key_of(row: Result) -> tuple[str, str]:
        return str(row.get("task")), str(row.get("metric"))

    kept = [r for r in results if key_of(r) not in clearer and key_of(r) not in repeated]
    return kept, [d | {"metric": clearer.get(key_of(d), d.get("metric"))} for d in differences]

"""The means over all answers: a task of their own, unless only one task has answers.

Where they equal the values of one task, they are shown as that task's, once.
"""

from __future__ import annotations

from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS

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

"""Keep what can be compared of several columns: the same tests on the same rows, by the same judge.

Everything that is left out is said. Differences are made anew, row by row, between each column and
the nearest one to its left that has the task (evaluation/paired.py); they are marked as those of
one run are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.measure import ACCURACY_RELEVANT, KL, KL_AT_MOST, RELEVANT, REWARD
from hfllm.evaluation.paired import differences, item_differences
from hfllm.evaluation.sample import Sample
from hfllm.report.compare.asked import Asked, Line, tasks_of

JUDGED = {  # model that scores the answers -> the metrics that mean another thing with another one
    "reward": (REWARD.name,),
    "reference": (KL.name, KL_AT_MOST.name),
    "judge": (RELEVANT.name, ACCURACY_RELEVANT.name),
}
NAMES = [one.name for one in fields(Sample) if one.name not in ("row", "max_new_tokens")]


@dataclass
class Compared:
    """What is left: lines as in results.json and samples.jsonl, by column; and what is said."""

    results: list[Line] = field(default_factory=list)
    differences: list[Line] = field(default_factory=list)
    samples: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whole: bool = True  # every answered task is in every column, on the same rows


def compare_tasks(columns: dict[str, dict[str, Asked]]) -> Compared:
    """Compare the tasks of columns {label: {task: Asked}}."""
    out = Compared()
    for task in tasks_of(columns.values()):
        having = {label: asked[task] for label, asked in columns.items() if task in asked}
        _add_task(task, having, len(columns), out)
    _add_summary({c: a[ALL_ANSWERS] for c, a in columns.items() if ALL_ANSWERS in a}, columns, out)
    return out


def _add_task(task: str, having: dict[str, Asked], columns: int, out: Compared) -> None:
    first, *others = having
    kept = {first: having[first]}
    for label in others:
        if why := _why_not(having[first], having[label]):
            out.notes.append(f"{task}: {label} is left out: {why} than {first}")
        else:
            kept[label] = having[label]
    if len(kept) < 2:
        if not others:
            out.notes.append(f"{task}: left out: asked of {first} alone")
        out.whole &= not having[first].samples
        return
    same = all(asked.has_rows_of(having[first]) for asked in kept.values())
    answered = {label: asked.rows(by_number=same) for label, asked in kept.items()}
    shared = [key for key in answered[first] if all(key in rows for rows in answered.values())]
    partly = any(len(shared) < len(rows) for rows in answered.values())
    if partly:
        sizes = ", ".join(f"{len(rows):,} of {label}" for label, rows in answered.items())
        out.notes.append(
            f"{task}: {len(shared):,} rows are the same ({sizes}): marks are over these rows, "
            "values over each one's own; what is not measured row by row is left out"
        )
    out.whole &= not (shared and (partly or len(kept) < columns))
    paired = {label: [rows[key] for key in shared] for label, rows in answered.items()}
    gaps = _gaps(kept, paired)
    by_row = {gap["metric"] for gap in gaps}
    dropped = set(_other_judges(task, kept, out.notes))
    for label, asked in kept.items():
        found = [r for r in asked.results if r.get("metric") not in dropped]
        if partly:
            found = [r for r in found if r.get("metric") in by_row and "/" not in str(r["task"])]
        out.results += [r | {"model": label, "task": _renamed(task, r)} for r in found]
        blank = {"reward": None} if REWARD.name in dropped else {}
        out.samples += [row | {"model": label, "task": task} | blank for row in paired[label]]
    out.differences += [gap | {"task": task} for gap in gaps if gap["metric"] not in dropped]


def _renamed(task: str, result: Line) -> str:
    """The task's name here, with the subset that the result is of."""
    _, slash, subset = str(result["task"]).partition("/")
    return task + slash + subset


def _why_not(first: Asked, other: Asked) -> str:
    """What is other about a test, in words before "than"; empty if the two can be compared."""
    for key, value in first.settings.items():
        if other.settings[key] != value:
            return f"another {key} ({other.settings[key]})"
    if first.has_rows_of(other):
        return ""
    if first.samples and other.samples:
        shared = first.rows(by_number=False).keys() & other.rows(by_number=False).keys()
        return "" if shared else "other rows"
    known = first.digest and other.digest
    return "other rows" if known else "other rows, or none that are known to be the same,"


def _gaps(kept: dict[str, Asked], paired: dict[str, list[Line]]) -> list[Line]:
    """The paired differences of neighbours in one task."""
    labels = list(kept)
    samples = [_sample(line, label) for label in labels for line in paired[label]]
    answered = [gap for gap in differences(samples, labels) if gap["task"] != ALL_ANSWERS]
    items = [i | {"model": label} for label, asked in kept.items() for i in asked.items]
    return answered + item_differences(items, labels)


def _sample(line: Line, label: str) -> Sample:
    """A line of samples.jsonl; what an older hfllm did not write is None."""
    values: dict[str, Any] = {name: line.get(name) for name in NAMES}
    return Sample(**values | {"model": label})


def _other_judges(task: str, kept: dict[str, Asked], notes: list[str]) -> Iterator[str]:
    """The metrics by a reward model, reference or judge that is not the same in all columns."""
    for role, metrics in JUDGED.items():
        found = {asked.scorers[role] for asked in kept.values() if asked.scorers[role]}
        of_all = {str(r.get("metric")) for asked in kept.values() for r in asked.results}
        measured = of_all & set(metrics)
        if len(found) > 1 and measured:
            notes.append(f"{task}: {', '.join(sorted(measured))} left out: another {role} model")
            yield from metrics


def _add_summary(
    having: dict[str, Asked], columns: dict[str, dict[str, Asked]], out: Compared
) -> None:
    """The means over all answers, if every column answered the same rows."""
    if len(having) < 2:
        return
    if not out.whole or len(having) < len(columns):
        out.notes.append("means over all answers: left out: not all have the same tests and rows")
        return
    dropped = set(_other_judges(ALL_ANSWERS, having, out.notes))
    for label, asked in having.items():
        out.results += [r | {"model": label} for r in asked.results if r["metric"] not in dropped]
    samples = [_sample(line, str(line["model"])) for line in out.samples]
    for before, after in pairwise(having):
        pair = [one for one in samples if one.model in (before, after)]
        gaps = [g for g in differences(pair, [before, after]) if g["task"] == ALL_ANSWERS]
        out.differences += [gap for gap in gaps if gap["metric"] not in dropped]

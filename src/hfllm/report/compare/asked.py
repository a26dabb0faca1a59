"""What a column was asked, and what came out: per task, from the evaluate steps of its run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.report.collect import DONE, StepView, read_lines, records
from hfllm.report.compare.columns import Column
from hfllm.report.view.stale import stale

SETTINGS = ("kind", "max_new_tokens")  # keys of a task that change what its values mean
SCORERS = ("reward", "reference", "judge")  # models that an evaluation scores answers with
Line = dict[str, Any]


@dataclass
class Asked:
    """One task of one column."""

    settings: dict[str, Any]
    source: str  # where its rows came from, and the version of the step that made them
    digest: str  # of its rows; "": an older hfllm did not record it
    scorers: dict[str, str]
    results: list[Line] = field(default_factory=list)
    samples: list[Line] = field(default_factory=list)
    items: list[Line] = field(default_factory=list)

    def rows(self, by_number: bool) -> dict[tuple[str, ...], Line]:
        """The answered rows by their number, or by what was asked: id, prompt, reference answer.

        A base model and a chat model are asked the same row in other words, so that a prompt tells
        rows apart only where nothing else does.
        """
        found: dict[tuple[str, ...], Line] = {}
        seen = Counter[tuple[str, ...]]()
        for number, sample in enumerate(self.samples):
            asked = tuple(str(sample.get(name)) for name in ("id", "prompt", "answer"))
            found[(str(number),) if by_number else (*asked, str(seen[asked]))] = sample
            seen[asked] += 1
        return found

    def has_rows_of(self, other: Asked) -> bool:
        """Whether the rows are known to be the same, in the same order."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return bool(self.source) and self.source == other.source and self.sizes == other.sizes

    @property
    def sizes(self) -> list[Any]:
        """The most rows behind one of its values, and the number of answers."""
        return [max((r.get("n") or 0 for r in self.results), default=0), len(self.samples)]


def asked_of(column: Column) -> tuple[dict[str, Asked], list[str]]:
    """The tasks of a column by name, and what was left out of its run, with the reason."""
    notes: list[str] = []
    out: dict[str, Asked] = {}
    why: dict[str, str] = {}
    for name, reason in stale(column.run):
        why.setdefault(name, reason)
    told = [s for s in column.run.steps if _values(s, column)]
    for step in told:
        if step.status != DONE or step.name in why:
            reason = step.state if step.status != DONE else why[step.name]
            notes.append(f"{column.label}: results of {step.name} left out: {reason}")
            continue
        for name, asked in _tasks(step, column).items():
            if name in out:
                name = f"{name} ({step.name})"  # two evaluations with a task of this name
            out[name] = asked
    if not told:
        notes.append(f"{column.label}: no results: no evaluate step of its run tested it")
    return out, notes


def _values(step: StepView, column: Column) -> list[Line]:
    return _of(records(step.results, "results"), column)


def _of(lines: Iterable[Line], column: Column) -> list[Line]:
    return [line for line in lines if str(line.get("model")) == column.model]


def _tasks(step: StepView, column: Column) -> dict[str, Asked]:
    out: dict[str, Asked] = {}
    items = read_lines(column.run.folder / step.name / "items.jsonl", [])
    for kind, lines in (
        ("results", _values(step, column)),
        ("samples", _of(step.samples, column)),
        ("items", _of(items, column)),
    ):
        for line in lines:
            name = str(line.get("task")).partition("/")[0]
            if name not in out:
                out[name] = _empty(step, name)
            getattr(out[name], kind).append(line)
    return out


def _empty(step: StepView, name: str) -> Asked:
    config, digests = step.section("config"), step.results.get("tests")
    tasks = config.get("tasks")
    task = tasks.get(name) if isinstance(tasks, dict) else None
    task = task if isinstance(task, dict) else {}
    source = task.get("source")
    source = source if isinstance(source, dict) else {}
    version = step.section("parent_artifacts").get(str(source.get("step")))
    return Asked(
        settings={key: task.get(key) for key in SETTINGS},
        source="" if not source else json.dumps([source, task.get("limit"), version], default=str),
        digest=str(digests.get(name, "")) if isinstance(digests, dict) else "",
        scorers={
            role: json.dumps([config.get(role), step.section("parent_artifacts").get(config[role])])
            if isinstance(config.get(role), str)
            else ""
            for role in SCORERS
        },
    )


def tasks_of(asked: Iterable[dict[str, Asked]]) -> list[str]:
    """All tasks in order, without the means over all answers."""
    return [n for n in dict.fromkeys(name for one in asked for name in one) if n != ALL_ANSWERS]

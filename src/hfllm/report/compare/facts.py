"""Beside the results: what training ended with, which keys differ, commits, versions, machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hfllm.report.collect import DONE, NOT_RUN, Run, StepView, parents
from hfllm.report.compare.columns import Column
from hfllm.report.drawing.line_chart import Line, line_chart
from hfllm.report.number_format import DASH, compact, duration, exact, scientific, short
from hfllm.report.view.costs import commit_of, hardware_of
from hfllm.report.view.stale import stale
from hfllm.report.view.story import key_figure
from hfllm.report.view.training import ChartView, series

LONGEST = 60  # characters of a value in the table
LINES = 6  # curves in one drawing
CURVES = {"eval_loss": "Held-out loss", "loss": "Training loss"}
Row = tuple[str, list[str]]  # what, and its value in each column


@dataclass(frozen=True)
class Facts:
    """Tables with one value a column, and curves."""

    training: list[Row]
    recipe: list[Row]  # keys whose values differ
    made: list[Row]  # commit, machine, versions
    charts: list[ChartView]
    notes: list[str]


def facts_of(columns: Sequence[Column]) -> Facts:
    """The facts of the columns, and what cannot be said of them."""
    steps = [column.step for column in columns]
    notes = [
        f"{column.label}: {column.model}: {why}"
        for column, step in zip(columns, steps, strict=True)
        if step is not None
        for why in _doubts(column.run, step)
    ]
    training = [step if step is not None and step.stage.trains else None for step in steps]
    return Facts(_training(training), _recipe(columns), _made(columns), _charts(columns), notes)


def _doubts(run: Run, step: StepView) -> Iterator[str]:
    if step.status not in (DONE, NOT_RUN):
        yield step.state
    yield from (why for name, why in stale(run) if name == step.name)


def _training(steps: Sequence[StepView | None]) -> list[Row]:
    """The final figures of the columns that were trained."""
    if not any(steps):
        return []

    def row(name: str, show: Any) -> Row:
        return name, [show(step) if step is not None else DASH for step in steps]

    rows = [
        row("Stage", lambda s: s.stage.name),
        row("Held-out loss", lambda s: short(s.metric("eval_loss"))),
        row("Key figure", lambda s: " ".join(key_figure(s)) or DASH),
        row("Tokens", lambda s: exact(s.figure("tokens") or None)),
        row("Time", lambda s: duration(s.figure("wall_s") or None)),
        row("Tokens/s", _speed),
        row("Peak memory, GiB", lambda s: short(s.figure("peak_memory_gb") or None)),
        row("FLOPs", lambda s: scientific(s.figure("flops") or None)),
        row("Parameters", lambda s: compact(s.metric("parameters"))),
    ]
    return [(name, values) for name, values in rows if set(values) != {DASH}]


def _charts(columns: Sequence[Column]) -> list[ChartView]:
    """The curves of all columns in one drawing each; losses of other stages mean another thing."""
    if len({c.step.stage.name for c in columns if c.step is not None}) > 1:
        return []
    out = []
    for key, title in CURVES.items():
        lines = [
            Line(column.label, points)
            for column in columns
            if column.step is not None and len(points := series(column.step, key)[0]) > 1
        ]
        if len(lines) > 1:
            more = f"{len(lines) - LINES} more columns are not drawn." if len(lines) > LINES else ""
            svg = line_chart(lines[:LINES], "loss", "step")
            out.append(ChartView(title, "", svg, more))
    return out


def _speed(step: StepView) -> str:
    tokens, wall = step.figure("tokens"), step.figure("wall_s")
    return exact(round(tokens / wall)) if tokens and wall else DASH


def _recipe(columns: Sequence[Column]) -> list[Row]:
    """The keys, of the compared steps and of all that they were made from, whose values differ."""
    found = [_keys(column, len({c.model for c in columns}) > 1) for column in columns]
    rows = [
        (key, [one.get(key, DASH) for one in found])
        for key in dict.fromkeys(key for one in found for key in one)
    ]
    return [(key, [_cut(v) for v in values]) for key, values in rows if len(set(values)) > 1]


def _cut(words: str) -> str:
    """A value that fits a table."""
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


def _keys(column: Column, other_names: bool) -> dict[str, str]:
    """{step.key: value} of the steps that a model was made by.

    Steps of other names (sft beside dpo) are compared with each other as `model.KEY`, and the steps
    before them by their names.
    """
    out: dict[str, str] = {}
    for step in reversed(_line_of(column)):
        own = other_names and step.name == column.model
        head = "model" if own else step.name
        out |= {f"{head}.stage": step.stage.name} if own else {}
        if config := step.section("config"):
            out |= _flat(head, config)
    made = column.step
    return out | ({"seed": str(made.manifest["seed"])} if made and "seed" in made.manifest else {})


def _line_of(column: Column) -> list[StepView]:
    """The step that made the model, and all steps before it that have run."""
    known = {step.name: step for step in column.run.steps}
    waiting, out = [column.model], []
    while waiting:
        before = known.get(waiting.pop(0))
        if before is not None and before not in out:
            out.append(before)
            waiting += parents(before)
    return out


def _flat(head: str, value: Any) -> dict[str, str]:
    """A mapping's values under dotted keys, in words."""
    below: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        below = [(f"{head}.{name}", one) for name, one in value.items()]
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        below = [(f"{head}[{at}]", one) for at, one in enumerate(value)]
    if below:
        return {key: words for name, one in below for key, words in _flat(name, one).items()}
    words = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return {head: words}


def _made(columns: Sequence[Column]) -> list[Row]:
    """Where the models were made: commit and machine always, versions where they differ."""
    rows: list[Row] = []
    steps = [column.step for column in columns]
    for name, show in (("Commit", _commit), ("Machine", hardware_of), ("Started", _started)):
        rows.append((name, [(show(step) if step is not None else "") or DASH for step in steps]))
    versions = [step.section("versions") if step is not None else {} for step in steps]
    for library in dict.fromkeys(name for one in versions for name in one):
        values = [str(one.get(library, DASH)) for one in versions]
        if len({v for v in values if v != DASH}) > 1:
            rows.append((str(library), values))
    return [(name, values) for name, values in rows if set(values) != {DASH}]


def _commit(step: StepView) -> str:
    return commit_of(step) if step.section("git") else ""


def _started(step: StepView) -> str:
    return str(step.manifest.get("started") or "")[:16].replace("T", " ")

"""The summary of a run: paragraphs, tiles of key figures, and the boxes of the flow chart.

Every clause is made from a number of a manifest; a clause whose number is missing is left out.
Failed and missing steps are named.
"""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.report.collect import DONE, FAILED, NOT_RUN, RUNNING, Run, StepView, parents
from hfllm.report.drawing.flow import Node
from hfllm.report.number_format import compact, duration, scientific
from hfllm.report.view.costs import Total
from hfllm.report.view.results import BETTER, WORSE, Table, TableRow

ALL = "all answers"
HEADLINES = {
    (ALL, "accuracy"): "Right answers, all questions",
    ("unknown people", "refused unanswerable"): "“I do not know” about unknown people",
}


@dataclass(frozen=True)
class Tile:
    """A value with its name, and the step or model that it is of."""

    value: str
    name: str
    source: str


def key_figure(step: StepView) -> tuple[str, str]:
    """The key figure of a step as (value, unit); two empty texts if there is none."""
    return step.stage.key_figure(step) or ("", "")


def nodes(run: Run) -> list[Node]:
    """The steps as boxes of the flow chart."""
    return [
        Node(
            name=step.name,
            figure=figure or step.status,
            unit=unit,
            time=duration(step.figure("wall_s")) if step.figure("wall_s") else "",
            status=step.status,
            data=step.stage.makes_data,
            parents=parents(step),
        )
        for step in run.steps
        for figure, unit in [key_figure(step) if step.status == DONE else ("", "")]
    ]


def tiles(run: Run, found: list[Table], total: Total) -> list[Tile]:
    """Key figures of the finished steps, headline results, cost.

    Args:
        run: the run.
        found: its tables of results.
        total: its cost.
    """
    out = []
    for step in run.steps:
        if step.status == DONE:
            out += [Tile(value, unit, step.name) for value, unit in _tiles(step)]
    for table in found:
        for row, words in headlines(table):
            out.append(Tile(row.cells[-1].value, words, table.models[-1]))
    if total.trained:
        out.append(Tile(compact(total.trained), "tokens trained on", "all steps"))
    if total.flops:
        out.append(Tile(scientific(total.flops, 1), "FLOPs", "all steps"))
    if total.wall_s:
        out.append(Tile(duration(total.wall_s), "wall time", "all steps"))
    return out


def _tiles(step: StepView) -> list[tuple[str, str]]:
    """The tiles that the stage declares, else the key figure."""
    if step.stage.tiles is not None:
        return list(step.stage.tiles(step))
    value, unit = key_figure(step)
    return [(value, unit)] if value else []


def paragraphs(run: Run, found: list[Table], total: Total) -> list[str]:
    """Three paragraphs, empty ones left out: what was made; the results; what is missing, and cost.

    Args:
        run: the run.
        found: its tables of results.
        total: its cost.
    """
    made = []
    for step in run.steps:
        if step.status == DONE and (sentence := step.stage.sentence(step)):
            made.append(sentence)
    measured = [sentence for table in found for sentence in _changes(table)]
    return [" ".join(part) for part in (made, measured, _unfinished(run) + _cost(total)) if part]


def _cost(total: Total) -> list[str]:
    if not total.wall_s:
        return []
    hardware = f" on {total.hardware[0]}" if len(total.hardware) == 1 else ""
    flops = f" and {scientific(total.flops, 1)} FLOPs" if total.flops else ""
    return [f"Together the steps took {duration(total.wall_s)}{flops}{hardware}."]


def _changes(table: Table) -> list[str]:
    """The headline results of all models, then how many metrics each model improved."""
    if len(table.models) < 2:
        return []
    out = []
    for row, words in headlines(table):
        chain = [f"{c.value} ({m})" for m, c in zip(table.models, row.cells, strict=True)]
        out.append(f"{words}: {', '.join(chain)}.")
    counts = [
        f"{model} is better than {table.models[i]} in {table.marked(i + 1, BETTER)} and worse in "
        f"{table.marked(i + 1, WORSE)} of {len(table.rows)} measures"
        for i, model in enumerate(table.models[1:])
    ]
    return [*out, f"Counting only differences beyond the 95% intervals, {'; '.join(counts)}."]


def headlines(table: Table) -> list[tuple[TableRow, str]]:
    """The rows of a table that HEADLINES names, with their names in words."""
    by_key = {(row.task, row.metric): row for row in table.rows}
    keys = {
        (table.summary_task if key[0] == ALL else key[0], key[1]): w for key, w in HEADLINES.items()
    }
    return [(by_key[key], words) for key, words in keys.items() if key in by_key]


def _unfinished(run: Run) -> list[str]:
    out = [f"Step {s.name} failed: {s.error}." for s in run.steps if s.status == FAILED]
    out += [f"Step {s.name} has no recorded end." for s in run.steps if s.status == RUNNING]
    missing = [s.name for s in run.steps if s.status == NOT_RUN]
    return out + ([f"Not run: {', '.join(missing)}."] if missing else [])

"""Compare several runs, or steps of runs: lines for the terminal, and one self-contained page.

In order: find the columns; read what each was asked; keep what can be compared; pair it row by row;
make the same tables as the report of one run does, with its marks (view/results.py). Reads files
only: no model, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.stage import Stages
from hfllm.report.collect import DONE, Run, StepView, records
from hfllm.report.compare.asked import asked_of
from hfllm.report.compare.columns import Column, find_columns
from hfllm.report.compare.facts import Facts, Row, facts_of
from hfllm.report.compare.gaps import gap_rows
from hfllm.report.compare.pairing import Compared, compare_tasks
from hfllm.report.page import ANSWERS_SHOWN, BADGES, MARKS, environment_of, style
from hfllm.report.view.outcome import Outcome, outcomes
from hfllm.report.view.results import settings, tables
from hfllm.report.view.samples import Selection, selections

SIDE_BY_SIDE = 12  # prompts shown on the page with every column's answer


@dataclass(frozen=True)
class Comparison:
    """Everything that the terminal and the page show."""

    columns: list[Column]
    outcomes: list[Outcome]
    gaps: list[Row]  # paired differences
    facts: Facts
    notes: list[str]
    selections: list[Selection]
    settings: list[dict[str, str]]


def compare(arguments: Sequence[str], stages: Stages) -> Comparison:
    """Compare runs or steps by their paths; ValueError as `find_columns`."""
    columns, notes = find_columns(arguments, stages)
    asked = {}
    for column in columns:
        asked[column.label], left_out = asked_of(column)
        notes += left_out
    compared, facts = compare_tasks(asked), facts_of(columns)
    run = _as_run(columns, compared, stages)
    shown = tables(run)
    return Comparison(
        columns,
        outcomes(shown),
        gap_rows(compared.differences, [column.label for column in columns], shown),
        facts,
        list(dict.fromkeys([*notes, *compared.notes, *facts.notes])),
        selections(run, SIDE_BY_SIDE),
        settings(run),
    )


def _as_run(columns: list[Column], compared: Compared, stages: Stages) -> Run:
    """A run with one evaluation, of what is left: the views of the report read it."""
    order = {column.label: at for at, column in enumerate(columns)}
    passports = [
        entry | {"model": column.label}
        for column in columns
        for step in column.run.steps
        for entry in records(step.results, "settings")
        if entry.get("model") == column.model
    ]
    results = {
        "results": sorted(compared.results, key=lambda r: order[r["model"]]),
        "differences": compared.differences,
        "settings": passports,
    }
    step = StepView("compare", stages["evaluate"], DONE, results=results, samples=compared.samples)
    folders = list(dict.fromkeys(str(column.run.folder) for column in columns))
    return Run("compare", Path(folders[0]), [step], "", [])


def write_page(found: Comparison, out: Path) -> None:
    """Write the comparison as one HTML file."""
    if out.is_dir():
        raise ValueError(f"--out: {out} is a folder; name a file, as {out / 'compare.html'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(found), encoding="utf-8")


def render(found: Comparison) -> str:
    """The page as HTML text."""
    context: dict[str, Any] = {
        "title": " · ".join(column.label for column in found.columns),
        "columns": found.columns,
        "outcomes": found.outcomes,
        "gaps": found.gaps,
        "facts": found.facts,
        "notes": found.notes,
        "selections": found.selections,
        "settings": found.settings,
    }
    return (
        environment_of()
        .get_template("compare.html.jinja")
        .render(context, style=style(), marks=MARKS, answers_shown=ANSWERS_SHOWN, badges=BADGES)
    )

"""The page: gather the views of a run (view/) into one context, render it with one template.

One file without requests: style and drawings are inline, and a Content-Security-Policy in the page
forbids the browser to load anything else. Text from data is escaped by the template's autoescape;
only our own SVG and CSS are marked safe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hfllm.report.collect import Run
from hfllm.report.drawing.flow import flow_tall, flow_wide
from hfllm.report.view.costs import cost_rows, expectation_rows, reproduction, time_spent, total_of
from hfllm.report.view.curation import curation_audits
from hfllm.report.view.ledger_view import ledger_views
from hfllm.report.view.outcome import outcomes
from hfllm.report.view.overview import final_metrics, notes, progress, warnings
from hfllm.report.view.reliability import reliabilities
from hfllm.report.view.results import settings, tables
from hfllm.report.view.samples import sample_histories, selections
from hfllm.report.view.story import nodes, story, unfinished
from hfllm.report.view.training import trainings

HERE = Path(__file__).parent
ANSWERS_SHOWN = 3  # prompts with their answers; the others are folded away
NOTES_OPEN = 3  # more notes than this are folded away
WIDE_STEPS = 9  # more boxes than this are too small in one row
MARKS = {"better": "▲", "worse": "▼", "different": "◆"}
BADGES = {"right": "✓", "wrong": "✗", "refused": "∅", "cut": "…"}
CONTENTS = [
    ("outcome", "Outcome"),
    ("answers", "Answers"),
    ("path", "The path"),
    ("training", "Training"),
    ("results", "More results"),
    ("ledger", "Token ledger"),
    ("reproduce", "Reproduce"),
]


def gather(run: Run, title: str | None, side_by_side: int) -> dict[str, Any]:
    """Everything that the page and the Markdown show, as plain values and SVG strings.

    Args:
        run: the run, as collect.read_run read it.
        title: of the page; None: the run's name.
        side_by_side: prompts shown with every model's answer.
    """
    total, found, histories = total_of(run), tables(run), sample_histories(run)
    return {
        "title": title or run.name,
        "meta": progress(run, total),
        "problems": run.problems,
        "unfinished": unfinished(run),
        "outcomes": outcomes(found),
        "story": story(run),
        "warnings": warnings(run),
        "notes": notes(run),
        "nodes": nodes(run),
        "final_metrics": final_metrics(run),
        "ledgers": ledger_views(run),
        "audits": curation_audits(run),
        "trainings": trainings(run),
        "reliabilities": reliabilities(run),
        "settings": settings(run),
        "selections": selections(run, side_by_side),
        "histories": histories,
        "costs": cost_rows(run),
        "expectations": expectation_rows(run),
        "totals": total.in_words(),
        "time_spent": time_spent(run),
        "hardware": total.hardware,
        "reproduction": reproduction(run),
        "contents": CONTENTS,
    }


def environment_of() -> Environment:
    """The templates of this room; text from data is escaped."""
    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The style sheet of all pages."""
    return (HERE / "style.css").read_text(encoding="utf-8")


def render(context: dict[str, Any]) -> str:
    """The page as HTML text."""
    steps = context["nodes"]
    return (
        environment_of()
        .get_template("template.html.jinja")
        .render(
            context,
            style=style(),
            flow_wide=flow_wide(steps) if steps else "",
            flow_tall=flow_tall(steps) if steps else "",
            long=len(steps) > WIDE_STEPS,
            marks=MARKS,
            answers_shown=ANSWERS_SHOWN,
            notes_open=NOTES_OPEN,
            badges=BADGES,
        )
    )

"""The page: everything gathered into one context and set by one template.

One file, no request to anywhere: style and drawings are inline, and a Content-Security-Policy in
the page itself forbids the browser to load anything else. Text from data is escaped by the
template's autoescape; only our own SVG and CSS are marked safe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hfllm.report.collect import Run
from hfllm.report.drawing.flow import flow_tall, flow_wide
from hfllm.report.number_format import duration, exact, number, scientific
from hfllm.report.view.costs import Total, cost_rows, reproduction, time_spent, total_of
from hfllm.report.view.curation import truths
from hfllm.report.view.ledger_view import accounts
from hfllm.report.view.reliability import reliabilities
from hfllm.report.view.results import settings, tables
from hfllm.report.view.samples import choices, growths
from hfllm.report.view.story import nodes, paragraphs, tiles
from hfllm.report.view.training import trainings

HERE = Path(__file__).parent
WIDE_STEPS = 9  # more boxes than this are too small in one row
CONTENTS = [
    ("story", "The run"),
    ("path", "The path"),
    ("ledger", "Token ledger"),
    ("training", "Training"),
    ("results", "Results"),
    ("answers", "Answers"),
    ("growth", "Learning to write"),
    ("cost", "Cost"),
    ("reproduce", "Reproduce"),
]


def gather(run: Run, title: str | None, side_by_side: int) -> dict[str, Any]:
    """All that the page and the Markdown show, as plain values and SVG strings."""
    total, found, grown = total_of(run), tables(run), growths(run)
    return {
        "title": title or run.name,
        "meta": _meta(run),
        "problems": run.problems,
        "story": paragraphs(run, found, total),
        "tiles": tiles(run, found, total),
        "states": _states(run),
        "nodes": nodes(run),
        "finals": _finals(run),
        "accounts": accounts(run),
        "truths": truths(run),
        "trainings": trainings(run),
        "results": found,
        "reliabilities": reliabilities(run),
        "settings": settings(run),
        "choices": choices(run, side_by_side),
        "growths": grown,
        "costs": cost_rows(run),
        "sums": sums(total),
        "spent": time_spent(run),
        "hardware": total.hardware,
        "again": reproduction(run),
        "contents": [(id_, name) for id_, name in CONTENTS if grown or id_ != "growth"],
    }


def render(context: dict[str, Any]) -> str:
    """The page as HTML text."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    steps = context["nodes"]
    return environment.get_template("template.html.jinja").render(
        context,
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        flow_wide=flow_wide(steps) if steps else "",
        flow_tall=flow_tall(steps) if steps else "",
        long=len(steps) > WIDE_STEPS,
        marks={"better": "▲", "worse": "▼", "different": "◆"},
        badges={"right": "✓", "wrong": "✗", "refused": "∅", "cut": "…"},
    )


def _meta(run: Run) -> str:
    """When it started and how far it got."""
    starts = sorted(str(s.manifest["started"]) for s in run.steps if s.manifest.get("started"))
    done = sum(step.status == "done" for step in run.steps)
    words = f"{done} of {len(run.steps)} steps done"
    return f"Started {starts[0][:16].replace('T', ' ')}, {words}" if starts else words


def _states(run: Run) -> list[tuple[str, str]]:
    """What must be said about single steps: how they ended if not well, and their notes."""
    out = [(s.name, s.state) for s in run.steps if s.status != "done"]
    prints = {s.name: s.manifest.get("fingerprint") for s in run.steps if s.manifest}
    for step in run.steps:
        for name, made_from in step.section("parents").items():
            if prints.get(name, made_from) != made_from:
                out.append((step.name, f"stale: made from another version of {name}"))
        out += [(step.name, note) for note in step.notes]
    return out


def _finals(run: Run) -> list[dict[str, str]]:
    """What each step measured at its end; an evaluation's values have a table of their own."""
    return [
        {"step": step.name, "metric": str(key), "value": exact(value)}
        for step in run.steps
        if not step.results
        for key, value in step.section("metrics").items()
        if number(value) is not None
    ]


def sums(total: Total) -> list[str]:
    """The totals in words."""
    words = []
    if total.wall_s:
        words.append(f"wall time {duration(total.wall_s)}")
    if total.trained:
        words.append(f"{exact(total.trained)} tokens trained on")
    if total.flops:
        words.append(f"{scientific(total.flops)} FLOPs")
    return words

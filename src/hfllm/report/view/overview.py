"""The run as a whole: how far it got, what each step ended with, what must be noted about it."""

from __future__ import annotations

from hfllm.report.collect import DONE, Run
from hfllm.report.number_format import duration, exact, number
from hfllm.report.view.costs import Total
from hfllm.report.view.stale import stale


def progress(run: Run, total: Total) -> str:
    """When the run started, how many of its steps are done, their time and machine."""
    starts = sorted(str(s.manifest["started"]) for s in run.steps if s.manifest.get("started"))
    done = sum(step.status == DONE for step in run.steps)
    words = f"{done} of {len(run.steps)} steps done"
    words += f" in {duration(total.wall_s)}" if total.wall_s else ""
    words += f" on {total.hardware[0]}" if len(total.hardware) == 1 else ""
    return f"Started {starts[0][:16].replace('T', ' ')}, {words}" if starts else words


def warnings(run: Run) -> list[tuple[str, str]]:
    """(step, what is wrong) of the steps that are not done or stale."""
    return [(s.name, s.state) for s in run.steps if s.status != DONE] + stale(run)


def notes(run: Run) -> list[tuple[str, str]]:
    """(step, note) of the decisions that the steps took at run time."""
    return [(step.name, note) for step in run.steps for note in step.notes]


def final_metrics(run: Run) -> list[dict[str, str]]:
    """The final metrics of each step, without evaluations, whose results have their own table."""
    return [
        {"step": step.name, "metric": str(key), "value": exact(value)}
        for step in run.steps
        if not step.results
        for key, value in step.section("metrics").items()
        if number(value) is not None
    ]

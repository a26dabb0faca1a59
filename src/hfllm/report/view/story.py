"""The steps of a run: a sentence on each, what is missing, and the boxes of the flow chart.

Every clause is made from a number of a manifest; a clause whose number is missing is left out.
Failed and missing steps are named.
"""

from __future__ import annotations

from hfllm.report.collect import DONE, FAILED, NOT_RUN, RUNNING, Run, StepView, parents
from hfllm.report.drawing.flow import Node
from hfllm.report.number_format import duration


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


def story(run: Run) -> list[str]:
    """One sentence for each finished step whose stage has one."""
    done = [step for step in run.steps if step.status == DONE]
    return [sentence for step in done if (sentence := step.stage.sentence(step))]


def unfinished(run: Run) -> list[str]:
    """The failed, interrupted and missing steps, in sentences."""
    out = [f"Step {s.name} failed: {s.error}." for s in run.steps if s.status == FAILED]
    out += [f"Step {s.name} has no recorded end." for s in run.steps if s.status == RUNNING]
    missing = [s.name for s in run.steps if s.status == NOT_RUN]
    return out + ([f"Not run: {', '.join(missing)}."] if missing else [])

"""Report: the page and the Markdown that tell the run's story."""

from __future__ import annotations

from hfllm.recipe.schema import ReportConfig
from hfllm.report.build import build_report
from hfllm.runs.layout import Step
from hfllm.runs.record import recording


def run(config: ReportConfig, step: Step) -> None:
    """runs/NAME/report/index.html and report.md."""
    with recording(step):
        page = build_report(step.recipe.run_dir, config.title, config.side_by_side)
        print(f"  {page}")

"""Report: the page and the Markdown that tell the run's story, and a card for each model."""

from __future__ import annotations

from hfllm.recipe.graph import MODEL_STAGES
from hfllm.recipe.schema import ReportConfig
from hfllm.report.build import build_report
from hfllm.report.card import model_card
from hfllm.runs.layout import Step
from hfllm.runs.record import recording


def run(config: ReportConfig, step: Step) -> None:
    """runs/NAME/report/index.html and report.md."""
    with recording(step):
        for name, spec in step.recipe.steps.items():
            folder = step.other(name).folder
            if spec.stage in MODEL_STAGES and (folder / "model").is_dir():
                card = model_card(folder, config.license, config.credits or ())
                (folder / "model" / "README.md").write_text(card, encoding="utf-8")
        page = build_report(step.recipe.run_dir, config.title, config.side_by_side)
        print(f"  {page}")

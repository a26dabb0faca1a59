"""Report: write the run's HTML page and Markdown, and a model card for each model."""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.recipe.ranges import NOT_NEGATIVE, within
from hfllm.recipe.stage import PAGE, Stage
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest


@dataclass
class Config:
    """Title and extent of the page; licence and credits of the model cards."""

    title: str | None = None  # of the page; default: the run's name
    side_by_side: int = within(NOT_NEGATIVE, 12)  # prompts shown with the answer of every model
    license: str | None = None  # of the models: a Hugging Face licence id
    credits: list[str] | None = None  # sources of the data with their licences, one a line


STAGE = Stage(config=Config, makes=PAGE, reads_everything=True)


def run(config: Config, step: Step, manifest: Manifest) -> None:
    """Write runs/NAME/report/index.html and report.md, and README.md into each model folder."""
    from hfllm.report.build import build_report
    from hfllm.report.card import model_card

    stages = step.recipe.stages
    for name, spec in step.recipe.steps.items():
        folder = step.other(name).folder
        if spec.stage.makes_model and (folder / "model").is_dir():
            card = model_card(folder, stages, config.license, config.credits or ())
            (folder / "model" / "README.md").write_text(card, encoding="utf-8")
    page = build_report(step.recipe.run_dir, stages, config.title, config.side_by_side)
    print(f"  {page}")

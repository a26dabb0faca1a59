"""Write a run's report: one self-contained page and its Markdown.

    build_report(Path("runs/demo"), find_stages())  ->  runs/demo/report/index.html, report.md

Reads manifests, metrics, results and samples only (no model, no torch), so it takes about a second
and can be run at any time, also in the middle of a run. The same folder gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from hfllm.recipe.stage import Stages
from hfllm.report.collect import read_run
from hfllm.report.markdown import to_markdown
from hfllm.report.page import gather, render


def build_report(
    run_dir: Path, stages: Stages, title: str | None = None, side_by_side: int = 12
) -> Path:
    """Write report/index.html and report/report.md into `run_dir`; returns the page's path.

    `stages` are those of the run's steps: each says what its numbers mean. `side_by_side` is
    the number of prompts shown with every model's answer. Errors: ValueError where `run_dir` is not
    a folder; whatever else is missing or broken is said in the report.
    """
    context = gather(read_run(Path(run_dir), stages), title, side_by_side)
    folder = Path(run_dir) / "report"
    folder.mkdir(exist_ok=True)
    page = folder / "index.html"
    page.write_text(render(context), encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(context), encoding="utf-8")
    return page

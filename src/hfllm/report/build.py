"""Write a run's report: one self-contained HTML page, and the same as Markdown.

    build_report(Path("runs/demo"), find_stages())  ->  runs/demo/report/index.html, report.md

In order: read the run folder (collect), make the views and gather them (page.gather), render both
files. Reads manifests, metrics, results and samples only (no model, no torch), so it takes about a
second and works at any time, also during a run. The same folder gives the same bytes.
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
    """Write report/index.html and report/report.md into `run_dir`; return the path of the page.

    Args:
        run_dir: folder of the run.
        stages: the stages of the run's steps; they declare charts, key figures and sentences.
        title: of the page; None: the run's name.
        side_by_side: prompts shown with every model's answer.

    Raises:
        ValueError: `run_dir` is not a folder. Missing or broken files are listed in the report.
    """
    context = gather(read_run(Path(run_dir), stages), title, side_by_side)
    folder = Path(run_dir) / "report"
    folder.mkdir(exist_ok=True)
    page = folder / "index.html"
    page.write_text(render(context), encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(context), encoding="utf-8")
    return page

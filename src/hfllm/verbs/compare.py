"""`hfllm compare`: several runs, or steps of runs, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfllm.verbs.errors import clear_errors


def compare(
    runs: Annotated[
        list[str], typer.Argument(help="run folders (runs/a), or steps in them (runs/a/sft)")
    ],
    out: Annotated[Path | None, typer.Option(help="a page, as compare.html")] = None,
) -> None:
    """Results with paired differences, training's figures, and what differs between the recipes."""
    with clear_errors():
        from hfllm.report.compare.build import compare as compare_runs
        from hfllm.report.compare.build import write_page
        from hfllm.report.compare.text import comparison_lines
        from hfllm.stages import find_stages

        found = compare_runs(runs, find_stages())
        for line in comparison_lines(found):
            print(line)
        if out:
            write_page(found, out)
            print(f"\n{out}")

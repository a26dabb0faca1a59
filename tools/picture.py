"""Draw the demo's results as an SVG: the shares of the README's table with their 95% intervals.

    python tools/picture.py runs/demo [--into docs/demo.svg]

One row per measure, one dot per model. The rows are those of the block `demo` in docs/results.yaml
that are shares; the picture has no scripts and looks the same on light and dark pages.
"""

from __future__ import annotations

import argparse
import sys
from html import escape
from pathlib import Path
from typing import Any

import yaml
from results import ROOT, SPECS, find

from hfllm.evaluation.measure import SHARE, measure_of
from hfllm.report.collect import Run, read_run
from hfllm.stages import find_stages

COLORS = ("#0068a8", "#c04600", "#00805c", "#a8568a")
LABELS, PLOT, ROW, TOP = 300, 520, 30, 44  # pixels: width of names and of the plot, heights


def main(words: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Draw a run's results (see the module).")
    parser.add_argument("run", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "demo.svg")
    given = parser.parse_args(words)
    try:
        spec = yaml.safe_load((ROOT / SPECS).read_text(encoding="utf-8"))["demo"]
        given.into.write_text(picture(read_run(given.run, find_stages()), spec), encoding="utf-8")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(given.into)
    return 0


def picture(run: Run, spec: dict[str, Any]) -> str:
    """The SVG of the rows of `spec` that are shares and have a value."""
    lines = []
    for name, key in spec["rows"].items():
        task, metric = key.split()
        found = [find(run, [model], task, metric) for model in spec["columns"]]
        if measure_of(metric).unit == SHARE and any(found):
            lines.append(line(name, found, TOP + ROW * len(lines)))
    width, height = LABELS + PLOT + 30, TOP + ROW * len(lines) + 30
    parts = [legend(list(spec["columns"].values())), *axis(height - 24), *lines]
    style = "font: 14px system-ui, sans-serif; fill: #1b2430"
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Results of {escape(run.name)}"><g style="{style}">'
        f"{ground}{''.join(parts)}</g></svg>\n"
    )


def at(share: float) -> float:
    """The x of a share."""
    return LABELS + PLOT * min(1.0, max(0.0, share))


def line(name: str, found: list[Any], top: float) -> str:
    """One measure: its name, and a dot with its interval for each model."""
    parts = [f'<text x="14" y="{top + 18}">{escape(name)}</text>']
    for i, result in enumerate(found):
        if result:
            y, color = top + 6 + 8 * i, COLORS[i % len(COLORS)]
            low, high = at(result["low"]), at(result["high"])
            parts.append(
                f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{color}" '
                f'stroke-width="3" stroke-linecap="round" opacity="0.45"/>'
                f'<circle cx="{at(result["value"]):.1f}" cy="{y}" r="4" fill="{color}"/>'
            )
    return "".join(parts)


def legend(models: list[str]) -> str:
    """The models with their colours."""
    return "".join(
        f'<circle cx="{LABELS + 6 + 90 * i}" cy="20" r="5" fill="{COLORS[i % len(COLORS)]}"/>'
        f'<text x="{LABELS + 18 + 90 * i}" y="25" font-weight="600">{escape(name)}</text>'
        for i, name in enumerate(models)
    )


def axis(bottom: float) -> list[str]:
    """Vertical lines at 0, 25, ... 100%."""
    return [
        f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP - 8}" y2="{bottom - 4}" stroke="#d9dfe6"/>'
        f'<text x="{x:.0f}" y="{bottom + 12}" text-anchor="middle" font-size="12">{share:.0%}'
        "</text>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        for x in (at(share),)
    ]


if __name__ == "__main__":
    sys.exit(main())

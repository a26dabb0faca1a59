"""Results as a Markdown table: one row per task and metric, one column per model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def format_table(results: Sequence[Any], models: Sequence[str] | None = None) -> str:
    """The Markdown table; cells are `value [low, high]` with the 95% interval.

    Args:
        results: rows of results.json (`{"model", "task", "metric", "value", "low", "high", "n"}`).
        models: the first columns, in order; other models (a reward model) follow.
    """
    columns = list(dict.fromkeys([*(models or ()), *(row["model"] for row in results)]))
    cells = {(row["task"], row["metric"], row["model"]): row for row in results}
    guessed = any("chance" in row for row in results)
    lines = [["task", "metric", *columns, *(["chance"] if guessed else []), "n"]]
    for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in results):
        found = [cells.get((task, metric, model)) for model in columns]
        counts = [row["n"] for row in found if row]
        if counts:
            size = f"{counts[0]:,}" if len(set(counts)) == 1 else f"{min(counts):,}-{max(counts):,}"
            chance = [next((f"{r['chance']:.3f}" for r in found if r and "chance" in r), "-")]
            lines.append(
                [task, metric, *map(format_cell, found), *(chance if guessed else []), size]
            )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([rows[0], rule, *rows[1:]])


def format_cell(row: Any | None) -> str:
    """`0.850 [0.801, 0.893]`; "-" where the model has no such result."""
    if row is None:
        return "-"
    digits = 1 if max(abs(row["low"]), abs(row["high"])) >= 10 else 3
    value, low, high = (f"{row[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"

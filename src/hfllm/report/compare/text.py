"""A comparison as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hfllm.report.compare.build import Comparison
from hfllm.report.compare.facts import Row
from hfllm.report.markdown import MARKS
from hfllm.report.view.results import Cell, Table

KEYS = 20  # keys of recipes that are printed; the page has all


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Columns, results, training, what differs, and what was left out."""
    labels = [column.label for column in found.columns]
    yield from (f"{column.label}: {column.place}" for column in found.columns)
    for outcome in found.outcomes:
        yield ""
        yield from _table(outcome.table)
        yield from outcome.sentences[::-1]
    if found.outcomes:
        yield "▲ better, ▼ worse, ◆ different from the column to the left, beyond the 95% interval"
        yield "of the paired difference on the same rows where there is one, else of both values."
    else:
        yield "No test was asked of two of them."
    yield from _rows(
        "Difference to the left, on the same rows", labels[1:], without_first(found.gaps)
    )
    yield from _rows("Training", labels, found.facts.training)
    recipe = found.facts.recipe
    yield from _rows("Keys that differ", labels, recipe[:KEYS])
    if len(recipe) > KEYS:
        yield f"{len(recipe) - KEYS} more keys differ: --out FILE.html shows all"
    elif not recipe:
        yield "\nThe recipes do not differ."
    yield from _rows("Made with", labels, found.facts.made)
    if found.notes:
        yield "\nNotes"
        yield from (f"- {note}" for note in found.notes)


def without_first(rows: Sequence[Row]) -> list[Row]:
    """The first column has nothing to its left."""
    return [(name, values[1:]) for name, values in rows]


def _table(table: Table) -> Iterator[str]:
    rows = [(row.name, [*map(_cell, row.cells), row.n]) for row in table.rows]
    yield from aligned("Results", [*table.models, "n"], rows)


def _cell(cell: Cell) -> str:
    return f"{cell.value} {cell.interval}".strip() + MARKS[cell.mark]


def _rows(title: str, labels: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        yield ""
        yield from aligned(title, labels, rows)


def aligned(title: str, heads: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """A table of words: the first column to the left, columns as wide as their widest value."""
    lines = [(title, list(heads)), *rows]
    first = max(len(name) for name, _ in lines)
    widths = [max(len(values[i]) for _, values in lines) for i in range(len(heads))]
    for at, (name, values) in enumerate(lines):
        cells = [value.ljust(width) for value, width in zip(values, widths, strict=True)]
        yield "  ".join([name.ljust(first), *cells]).rstrip()
        if not at:
            yield "-" * (first + sum(widths) + 2 * len(widths))

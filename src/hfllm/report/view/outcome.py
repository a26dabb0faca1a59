"""The outcome: what the last model does better or worse than the one before, or neither clearly.

A table of results whose rows are grouped by the verdict on the last model, marked ones first.
Only rows without any marked difference are ever folded away.
"""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.report.view.results import BETTER, OTHER, WORSE, Table, TableRow

NAMED = 3  # measures that a sentence names of each kind
FEW_ROWS = 30  # below it, a share's 95% interval is up to 35 points wide
TITLES = {
    BETTER: "{last} is better than {before}",
    WORSE: "{last} is worse than {before}",
    OTHER: "{last} differs from {before}; neither way is better as such",
    "": "No clear difference between {last} and {before}: it may be chance",
}


@dataclass(frozen=True)
class Group:
    """Rows with the same verdict on the last model."""

    title: str
    mark: str
    rows: list[TableRow]


@dataclass(frozen=True)
class Outcome:
    """One table of results: sentences, its rows in groups, and the rows that are folded away."""

    table: Table
    sentences: list[str]
    groups: list[Group]
    folded: list[TableRow]


def outcomes(found: list[Table]) -> list[Outcome]:
    """One outcome per table, the one with the most rows first."""
    return [_outcome(table) for table in sorted(found, key=lambda table: -len(table.rows))]


def _outcome(table: Table) -> Outcome:
    shown = [row for row in table.rows if not row.secondary]
    folded = [row for row in table.rows if row.secondary]
    models = table.models
    pairs = list(zip(models, models[1:], strict=False))
    sentences = [_sentence(table, i + 1, before, m) for i, (before, m) in enumerate(pairs)]
    if len(models) < 2:
        return Outcome(table, [], [Group("", "", shown)], folded)
    groups = [
        Group(title.format(last=models[-1], before=models[-2]), mark, rows)
        for mark, title in TITLES.items()
        if (rows := [row for row in shown if row.verdict == mark])
    ]
    return Outcome(table, sentences[::-1], groups, folded)


def _sentence(table: Table, at: int, before: str, model: str) -> str:
    """How the model in column `at` compares with the one before it."""
    rows = [row for row in table.rows if row.cells[at].n and row.cells[at - 1].n]
    if not rows:
        return f"{model} and {before} share no test."
    better, worse = (_named(rows, at, mark) for mark in (BETTER, WORSE))
    head, remarks = (
        f"{model} against {before}, in {_some(len(rows), 'measure')}",
        _remarks(table, at, rows),
    )
    if not better and not worse:
        return f"{head}: none clearly better or worse.{remarks}"
    return (
        f"{head}: clearly better in {better or 'none'}, clearly worse in {worse or 'none'}."
        f"{remarks}"
    )


def _remarks(table: Table, at: int, rows: list[TableRow]) -> str:
    """What a reader must know of the comparison: identical answers, too few rows."""
    said, most = "", max(row.cells[at].rows for row in rows)
    if prompts := table.same.get((table.models[at - 1], table.models[at])):
        said += f" The models gave identical answers to all {_some(prompts, 'prompt')}."
    if most < FEW_ROWS:
        said += f" With {most:.0f} rows at most, small differences cannot be told from chance."
    return said


def _named(rows: list[TableRow], at: int, mark: str) -> str:
    """The number of rows with this mark, and the first of them by name; empty if there is none."""
    names = [row.name for row in rows if row.cells[at].mark == mark]
    if not names:
        return ""
    shown = ", ".join(f"“{name}”" for name in names[:NAMED])
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names)} ({shown}{more})"


def _some(n: int, thing: str) -> str:
    return f"{n:,} {thing}" + ("" if n == 1 else "s")

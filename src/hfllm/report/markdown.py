"""The report as Markdown, without the drawings; also the tables of the model cards.

Text from data is escaped, so that a `|`, a `<` or a line break in an answer cannot break a table
or become markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hfllm.report.view.outcome import Outcome
from hfllm.report.view.results import Cell, Table
from hfllm.report.view.samples import Selection

MARKS = {"better": " ▲", "worse": " ▼", "different": " ◆", "": ""}
ANSWERS = 4  # prompts shown; the page has more


def safe(words: object) -> str:
    """Text escaped for Markdown and HTML, on one line."""
    flat = " ".join(str(words).split())
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", flat)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def md_table(heads: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    """A table; the columns after the first `words` are numbers, aligned right.

    Args:
        heads: the first line, already escaped.
        rows: cells; they are escaped here.
        words: number of columns of text.
    """
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    lines = [heads, rule, *[[safe(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def to_markdown(context: dict[str, Any]) -> str:
    """The whole report; `context` is that of `page.gather`."""
    parts = [
        f"# {safe(context['title'])}\n",
        f"{safe(context['meta'])}.\n",
        *[f"{safe(part)}\n" for part in context["unfinished"]],
    ]
    if not context["story"] and not context["outcomes"]:
        parts.append("Nothing has been run yet.\n")
    parts += [_outcome(outcome) for outcome in context["outcomes"]]
    parts += [_answers(selection) for selection in context["selections"]]
    parts += ["## Path\n", _path(context), _ledger(context)]
    parts += [_cost(context), _reproduction(context)]
    return "\n".join(part for part in parts if part)


def _path(context: dict[str, Any]) -> str:
    rows = [
        (n.name, ", ".join(n.parents), n.status, f"{n.figure} {n.unit}", n.time)
        for n in context["nodes"]
    ]
    table = md_table(["Step", "Made from", "Status", "Key figure", "Wall time"], rows, 4)
    sentences = [f"- {safe(words)}" for words in context["story"]]
    remarks = [*context["warnings"], *context["notes"]]
    notes = [f"- **{safe(name)}**: {safe(words)}" for name, words in remarks]
    return table + "".join("\n" + "\n".join(part) + "\n" for part in (sentences, notes) if part)


def _ledger(context: dict[str, Any]) -> str:
    rows = []
    for ledger in context["ledgers"]:
        for unit, total in ledger.total_in.items():
            kept = ledger.total_kept.get(unit, 0)
            check = "conserved" if ledger.conserved else "NOT conserved"
            rows.append((ledger.step, unit, check, f"{total:,}", f"{kept:,}"))
    if not rows:
        return ""
    return "## Token ledger\n\n" + md_table(["Step", "Unit", "Sums", "In", "Kept"], rows, 3)


def _outcome(outcome: Outcome) -> str:
    """The sentences, then the table, its rows in the order of the groups."""
    rows = [row for group in outcome.groups for row in group.rows] + outcome.folded
    table = result_table(replace(outcome.table, rows=rows))
    title, _, rest = table.partition("\n\n")
    return "\n\n".join([title, *map(safe, outcome.sentences), rest])


def result_table(table: Table) -> str:
    """A table of results with their 95% intervals; also used by the model cards."""
    heads = ["Measure", *[safe(m) for m in table.models], "n"]
    rows = [[r.name, *map(_cell, r.cells), r.n] for r in table.rows]
    note = "▲ better, ▼ worse, ◆ different from the model to the left, beyond the 95% interval.\n"
    return f"## Results ({safe(table.step)})\n\n{md_table(heads, rows)}\n{note}"


def _cell(cell: Cell) -> str:
    return f"{cell.value} {cell.interval}".strip() + MARKS.get(cell.mark, "")


def _answers(selection: Selection) -> str:
    parts = ["## Answers side by side\n", safe(selection.rule) + "\n"]
    for exchange in selection.shown(ANSWERS):
        question = " / ".join(content for _, content in exchange.prompt)
        rows = [
            (a.model, a.text or "(empty)", ", ".join(words for _, words in a.marks))
            for a in exchange.answers
        ]
        expected = f"  \nexpected: {safe(exchange.reference)}" if exchange.reference else ""
        parts.append(f"**{safe(exchange.task)}**: {safe(question)}{expected}\n")
        parts.append(md_table(["Model", "Answer", "Marks"], rows, 3))
    return "\n".join(parts)


def _cost(context: dict[str, Any]) -> str:
    keys = ("step", "wall", "tokens", "flops", "speed", "memory")
    heads = ["Step", "Wall time", "Tokens", "FLOPs", "Tokens/s", "Peak memory, GiB"]
    table = md_table(heads, [[row[key] for key in keys] for row in context["costs"]])
    figures = ("step", "what", "predicted", "measured", "off")
    if rows := [[row[key] for key in figures] for row in context["expectations"]]:
        table += "\n" + md_table(["Step", "Figure", "Expected", "Measured", "Off"], rows, 2)
    tail = [f"Sums: {'; '.join(context['totals'])}."] if context["totals"] else []
    spent = context["time_spent"]
    tail += [f"Where the time went, {'; '.join(spent)}."] if spent else []
    tail += [f"Hardware: {safe('; '.join(context['hardware']))}."] if context["hardware"] else []
    return "## Cost\n\n" + table + "\n" + "\n".join(tail) + "\n"


def _reproduction(context: dict[str, Any]) -> str:
    needed = context["reproduction"]
    lines = ["## How to reproduce\n", "```bash", *needed.commands, "```\n"]
    if needed.git:
        lines.append(f"- commit: {safe('; '.join(needed.git))}")
    if needed.seeds:
        lines.append(f"- seed: {safe(', '.join(needed.seeds))}")
    if needed.versions:
        words = ", ".join(f"{row['library']} {row['version']}" for row in needed.versions)
        lines.append(f"- versions: {safe(words)}")
    return "\n".join(lines) + "\n"

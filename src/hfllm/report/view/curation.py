"""Curation's decisions against the true labels, for synthetic text that has them.

Precision and recall per reason, PII, extraction, and examples of mistakes. curation.json of real
text has no `truth`, and then there is no audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hfllm.report.collect import Run, StepView, records
from hfllm.report.number_format import exact, percent

MISTAKES = 3  # shown of each kind


@dataclass(frozen=True)
class CurationAudit:
    """Tables by the reason of the filter and by the true reason, with sentences and mistakes."""

    step: str
    sentences: list[str]
    by_filter: list[dict[str, str]]
    by_truth: list[dict[str, str]]
    mistakes: list[dict[str, str]]


def curation_audits(run: Run) -> list[CurationAudit]:
    """One per curation step with true labels."""
    return [_audit(step) for step in run.steps if _mapping(step.curation.get("truth"))]


def _audit(step: StepView) -> CurationAudit:
    known = _mapping(step.curation["truth"])
    by_filter, by_truth = _mapping(known.get("by_filter")), _mapping(known.get("by_truth"))
    return CurationAudit(
        step=step.name,
        sentences=_sentences(known),
        by_filter=[
            {
                "reason": _plain(reason),
                "documents": exact(row.get("dropped")),
                "share": percent(row.get("precision")),
                "others": _others(row.get("truth")),
            }
            for reason, row in _ordered(by_filter, "dropped")
        ],
        by_truth=[
            {
                "reason": _plain(reason),
                "documents": exact(row.get("documents")),
                "share": percent(row.get("recall")),
                "others": _others(row.get("curator")),
            }
            for reason, row in _ordered(by_truth, "documents")
        ],
        mistakes=_mistakes(_mapping(known.get("mistakes"))),
    )


def _sentences(known: dict[str, Any]) -> list[str]:
    overall, pii = _mapping(known.get("overall")), _mapping(known.get("pii"))
    extraction = _mapping(known.get("extraction"))
    out = []
    if overall:
        right, found = percent(overall.get("precision")), percent(overall.get("recall"))
        out.append(
            f"Over {exact(overall.get('documents'))} documents: {right} of what was dropped "
            f"deserved it, and {found} of what deserved it was dropped."
        )
    if pii.get("planted"):
        out.append(
            f"Of {exact(pii['planted'])} addresses and numbers of people in kept text, "
            f"{percent(pii.get('recall'))} were replaced."
        )
    if extraction.get("words"):
        right, found = percent(extraction.get("precision")), percent(extraction.get("recall"))
        out.append(
            f"Words of web pages after extraction: {right} belong to the main text, and {found} "
            "of the main text is there."
        )
    return out


def _mistakes(known: dict[str, Any]) -> list[dict[str, str]]:
    out = []
    for kind in ("wrongly_dropped", "wrongly_kept"):
        for row in records(known, kind)[:MISTAKES]:
            why = f"curation: {_plain(row.get('curator'))}, truth: {_plain(row.get('truth'))}"
            out.append({"kind": _plain(kind), "why": why, "text": str(row.get("text", ""))})
    return out


def _ordered(table: dict[str, Any], size: str) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a table, largest `size` first."""
    rows = [(name, row) for name, row in table.items() if isinstance(row, dict)]
    return sorted(rows, key=lambda item: (-(item[1].get(size) or 0), item[0]))


def _others(counts: Any) -> str:
    return ", ".join(f"{_plain(name)} {exact(n)}" for name, n in _mapping(counts).items())


def _plain(name: Any) -> str:
    return str(name).replace("_", " ")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

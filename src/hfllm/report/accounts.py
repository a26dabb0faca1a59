"""The token ledger and the curation's truth as a reader sees them: bars, rows, and the check.

The sums are checked here once more, from the manifest's own rows: a report that repeats a claim
without testing it would be worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hfllm.data.ledger import UNITS, Ledger
from hfllm.report.bars import Bar, stacked_bars
from hfllm.report.collect import Run, Step
from hfllm.report.figures import compact, exact, number, percent

# Reasons in order of size take these; what comes after the sixth shares "other reasons".
COLORS = ("c2", "c5", "c4", "c6", "c3", "c7")


@dataclass(frozen=True)
class Account:
    """One step's ledger, ready to be shown."""

    step: str
    charts: list[str]  # SVG, by documents and by tokens or bytes
    legend: list[tuple[str, str]]  # colour class, name
    rows: list[dict[str, str]]
    verdict: str
    conserved: bool
    came: dict[str, int]
    kept: dict[str, int]


def ledger_of(step: Step) -> Ledger:
    """The step's ledger; a unit that is missing or no number counts 0."""
    clean = [
        {"source": str(row["source"]), "bucket": str(row["bucket"])}
        | {unit: int(number(row.get(unit)) or 0) for unit in UNITS}
        for row in step.ledger
    ]
    return Ledger.from_json(clean)


def accounts(run: Run) -> list[Account]:
    """One account per step that has a ledger."""
    return [_account(step) for step in run.steps if step.ledger]


def _account(step: Step) -> Account:
    ledger = ledger_of(step)
    buckets = _buckets(ledger)
    colors = {"kept": "c1"} | dict(zip(buckets, COLORS, strict=False))
    units = [u for u in UNITS if any(row[u] for row in ledger.rows.values())]
    measure = ["documents", "tokens" if "tokens" in units else "bytes"]
    shown = [u for u in measure if u in units]
    legend = [("c1", "kept")] + [(colors[b], _plain(b)) for b in buckets if b in colors]
    if len(buckets) > len(COLORS):
        legend.append(("c8", "other reasons"))
    problems = conservation_problems(ledger)
    return Account(
        step=step.name,
        charts=[stacked_bars(_bars(ledger, unit, colors), unit) for unit in shown],
        legend=legend,
        rows=_rows(ledger),
        verdict="; ".join(problems) if problems else _conserved(ledger, units),
        conserved=not problems,
        came={u: ledger.total("in", u) for u in units},
        kept={u: ledger.total("kept", u) for u in units},
    )


def conservation_problems(ledger: Ledger) -> list[str]:
    """What does not add up, source by source; empty where all is conserved."""
    problems = []
    for source in sorted({source for source, _ in ledger.rows}):
        part = Ledger()
        part.rows.update({key: row for key, row in ledger.rows.items() if key[0] == source})
        try:
            part.check()
        except ValueError as error:
            problems.append(str(error))
    return problems


def _conserved(ledger: Ledger, units: list[str]) -> str:
    count = len({source for source, _ in ledger.rows})
    sources = "the one source" if count == 1 else f"each of the {count} sources"
    return f"in = kept + dropped + changed for {sources}, in {' and '.join(units)}"


def _buckets(ledger: Ledger) -> list[str]:
    """Dropped and changed buckets, the largest first (by documents, then by bytes)."""
    sizes: dict[str, tuple[int, int, int]] = {}
    for (_, bucket), row in ledger.rows.items():
        if bucket not in ("in", "kept"):
            old = sizes.get(bucket, (0, 0, 0))
            new = (row["documents"], row["tokens"], row["bytes"])
            sizes[bucket] = (old[0] + new[0], old[1] + new[1], old[2] + new[2])
    return sorted(sizes, key=lambda b: (*(-size for size in sizes[b]), b))


def _plain(bucket: str) -> str:
    kind, _, reason = bucket.partition(":")
    words = reason.replace("_", " ") or kind
    return f"{words} (cut)" if kind == "changed" else words


def _bars(ledger: Ledger, unit: str, colors: dict[str, str]) -> list[Bar]:
    bars = []
    for source in dict.fromkeys(source for source, _ in ledger.rows):
        buckets = {b: row[unit] for (s, b), row in ledger.rows.items() if s == source}
        came, kept = buckets.get("in", 0), buckets.get("kept", 0)
        order = ["kept", *(b for b in _buckets(ledger) if b in buckets)]
        parts = [(_plain(b), colors.get(b, "c8"), float(buckets.get(b, 0))) for b in order]
        share = f" ({percent(kept / came)})" if came else ""
        bars.append(Bar(source, f"{compact(came)} → {compact(kept)} {unit}{share}", parts))
    return bars


def _rows(ledger: Ledger) -> list[dict[str, str]]:
    """Table rows: per source in, then what went, then kept."""
    order = {b: i for i, b in enumerate(["in", *_buckets(ledger), "kept"])}
    sources = list(dict.fromkeys(source for source, _ in ledger.rows))
    keys = sorted(ledger.rows, key=lambda key: (sources.index(key[0]), order.get(key[1], 0)))
    return [
        {"source": source, "bucket": bucket.replace(":", ": ").replace("_", " ")}
        | {unit: exact(ledger.rows[source, bucket][unit]) for unit in UNITS}
        for source, bucket in keys
    ]


def curation_truth(step: Step) -> list[dict[str, str]]:
    """Per reason: how many, and against the known truth how precise and how complete."""
    reasons, truth = _mapping(step.curation.get("reasons")), _mapping(step.curation.get("truth"))
    rows = []
    for reason in sorted({*reasons, *truth}, key=lambda r: (-(number(reasons.get(r)) or 0), r)):
        known = _mapping(truth.get(reason))
        rows.append(
            {
                "reason": str(reason).replace("_", " "),
                "dropped": exact(reasons.get(reason)),
                "planted": exact(known.get("n")),
                "precision": percent(known.get("precision")),
                "recall": percent(known.get("recall")),
            }
        )
    return rows


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

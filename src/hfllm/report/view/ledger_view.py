"""The token ledger of each step: bars, table rows, and whether its sums are conserved.

The sums are checked again here, from the rows in the manifest, so that the report does not repeat
an untested claim.
"""

from __future__ import annotations

from dataclasses import dataclass

from hfllm.data.ledger import UNITS, Ledger
from hfllm.report.collect import Run, StepView
from hfllm.report.drawing.bars import Bar, stacked_bar
from hfllm.report.number_format import DASH, compact, exact, percent

# Colours of the reasons, largest first; those after the sixth share "other reasons".
MINOR = 0.95  # share kept, from which on a step's ledger is folded away
COLORS = ("c2", "c5", "c4", "c6", "c3", "c7")


@dataclass(frozen=True)
class LedgerView:
    """The ledger of one step, as the page shows it."""

    step: str
    charts: list[tuple[str, list[Bar]]]  # by documents, and by tokens or bytes
    legend: list[tuple[str, str]]  # colour class, name
    rows: list[dict[str, str]]
    verdict: str
    conserved: bool
    total_in: dict[str, int]  # by unit
    total_kept: dict[str, int]
    all_kept: bool  # nothing was dropped or changed

    @property
    def is_minor(self) -> bool:
        """Whether nearly everything was kept, and the sums are right: no bars at first sight."""
        sizes = [(self.total_in[unit], self.total_kept[unit]) for unit in self.total_in]
        return self.conserved and all(kept >= MINOR * came for came, kept in sizes)

    @property
    def kept_in_words(self) -> str:
        """What was kept of what came in, by unit."""
        if self.all_kept:
            sizes = [f"{size:,} {unit}" for unit, size in self.total_kept.items()]
            return f"everything kept: {', '.join(sizes)}"
        sizes = [
            f"{self.total_kept[unit]:,} of {came:,} {unit}" for unit, came in self.total_in.items()
        ]
        return f"kept {', '.join(sizes)}"


def ledger_views(run: Run) -> list[LedgerView]:
    """One per step that has a ledger."""
    return [_view(step) for step in run.steps if step.ledger]


def _view(step: StepView) -> LedgerView:
    ledger = step.counts
    buckets = _buckets(ledger)
    colors = {"kept": "c1"} | dict(zip(buckets, COLORS, strict=False))
    units = [u for u in UNITS if any(row[u] for row in ledger.rows.values())]
    measure = ["documents", "tokens" if "tokens" in units else "bytes"]
    shown = [u for u in measure if u in units]
    legend = [("c1", "kept")] + [(colors[b], _plain(b)) for b in buckets if b in colors]
    if len(buckets) > len(COLORS):
        legend.append(("c8", "other reasons"))
    problems = conservation_problems(ledger)
    return LedgerView(
        step=step.name,
        charts=[(unit, _bars(ledger, unit, colors)) for unit in shown],
        legend=legend,
        rows=_rows(ledger, units),
        verdict="; ".join(problems) if problems else _conserved(ledger, units),
        conserved=not problems,
        total_in={u: ledger.total("in", u) for u in units},
        total_kept={u: ledger.total("kept", u) for u in units},
        all_kept=not any(any(row.values()) for (_, b), row in ledger.rows.items() if ":" in b),
    )


def conservation_problems(ledger: Ledger) -> list[str]:
    """The violated sums, per source; empty if all are conserved."""
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
    named = " and ".join([", ".join(units[:-1]), units[-1]] if len(units) > 1 else units)
    return f"in = kept + dropped + changed for {sources}, in {named}"


def _buckets(ledger: Ledger) -> list[str]:
    """Dropped and changed buckets, by their largest share of any unit, largest first."""
    shares: dict[str, float] = {}
    for bucket in {bucket for _, bucket in ledger.rows} - {"in", "kept"}:
        sizes = {unit: (ledger.total(bucket, unit), ledger.total("in", unit)) for unit in UNITS}
        shares[bucket] = max(part / came if came else 0.0 for part, came in sizes.values())
    return sorted(shares, key=lambda bucket: (-shares[bucket], bucket))


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
        note = f"{compact(came)} → {compact(kept)} {unit}{share}"
        bars.append(stacked_bar(source, note, parts, unit))
    return bars


def _rows(ledger: Ledger, units: list[str]) -> list[dict[str, str]]:
    """Table rows per source: in, dropped and changed, kept; a dash for units never counted."""
    order = {b: i for i, b in enumerate(["in", *_buckets(ledger), "kept"])}
    sources = list(dict.fromkeys(source for source, _ in ledger.rows))
    keys = sorted(ledger.rows, key=lambda key: (sources.index(key[0]), order.get(key[1], 0)))
    return [
        {"source": source, "bucket": bucket.replace(":", ": ").replace("_", " ")}
        | {u: exact(ledger.rows[source, bucket][u]) if u in units else DASH for u in UNITS}
        for source, bucket in keys
    ]

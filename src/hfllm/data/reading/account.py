"""Say what the reading of a step's sources left out and left unread; stop if it was too much.

Every step that reads sources calls `account` once, after its last `keep` or `drop`: the lines go to
the console, the counts are in the ledger of the manifest. What was asked to be left out (`where`, a
limit, held-out rows, tests that are searched for) is said and never stops a step; curation, whose
purpose is to drop, does not call it but prints its own reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hfllm.data.ledger import DataError, Ledger
from hfllm.data.reading.examples import label
from hfllm.recipe.config import SourceConfig

ASKED_FOR = {"where", "limit", "heldout", "contamination"}
MOST = 0.5  # share of a source that may be left out; `allow_dropped` of the source sets another
FILES_NAMED = 3


def account(ledger: Ledger, sources: Iterable[SourceConfig]) -> list[str]:
    """Print `account_lines`, and raise DataError where more than `allow_dropped` is left out."""
    sources = list(sources)
    lines = list(account_lines(ledger, sources))
    for line in lines:
        print(f"  {line}", flush=True)
    for source in sources:
        _check_share(ledger, source)
    return lines


def account_lines(ledger: Ledger, sources: Iterable[SourceConfig]) -> Iterator[str]:
    """For each source: what was left out by reason, what of the rows is not read or trained."""
    for name in dict.fromkeys(label(source) for source in sources):
        if reasons := ledger.reasons(source=name):
            came = ledger.rows[name, "in"]["documents"]
            left = "; ".join(
                f"{count:,} {reason}{_first(ledger, name, reason)}"
                for reason, count in reasons.items()
            )
            yield f"{name}: {sum(reasons.values()):,} of {came:,} rows left out: {left}"
        if unread := [_noted(*item) for item in _notes(ledger, name, "unread:")]:
            yield f"{name}: not read: {'; '.join(unread)}"
        for what, files in _notes(ledger, name, "untrained:"):
            yield f"{name}: not trained: {_noted(what, files)}"


def _first(ledger: Ledger, name: str, reason: str) -> str:
    """Where it was left out first, but of what was asked for."""
    place = ledger.first.get((name, reason))
    return f" (first {place})" if place and reason not in ASKED_FOR else ""


def _notes(ledger: Ledger, name: str, kind: str) -> list[tuple[str, dict[str, int]]]:
    return [
        (what.removeprefix(kind), files)
        for (source, what), files in ledger.notes.items()
        if source == name and what.startswith(kind)
    ]


def _noted(what: str, files: dict[str, int]) -> str:
    """`lang` (8 rows of a.jsonl, 3 of b.jsonl)."""
    named = [f"{rows:,} of {file}" for file, rows in list(files.items())[:FILES_NAMED]]
    rest = list(files.values())[FILES_NAMED:]
    more = [f"{sum(rest):,} of {len(rest):,} other files"] if rest else []
    return f"{what} ({', '.join(named + more)})"


def _check_share(ledger: Ledger, source: SourceConfig) -> None:
    """DataError if a larger share than allowed is left out that nobody asked to leave out."""
    name = label(source)
    reasons = {
        reason: count
        for reason, count in ledger.reasons(source=name).items()
        if reason not in ASKED_FOR
    }
    lost = sum(reasons.values())
    read = lost + ledger.rows[name, "kept"]["documents"]
    allowed = MOST if source.allow_dropped is None else source.allow_dropped
    if lost > allowed * read:
        why = "; ".join(f"{n:,} {r}{_first(ledger, name, r)}" for r, n in reasons.items())
        raise DataError(
            f"source {name!r}: {lost:,} of {read:,} rows are left out ({why}): more than "
            f"{allowed:.0%}; mend them, or set `allow_dropped` on the source to a larger share"
        )

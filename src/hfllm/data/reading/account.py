"""Say what the reading of a step's sources left out and left unread; stop if it was too much.

Every step that reads sources calls `account` once, after its last `keep` or `drop`: the lines go to
the console, the counts are in the ledger of the manifest. What was asked to be left out (`where`, a
limit, held-out rows, tests that are searched for) is said and never stops a step; nor do the
filters of curation, whose purpose is to drop: there only what cannot be read counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hfllm.data.ledger import DataError, Ledger
from hfllm.data.reading.examples import label
from hfllm.recipe.config import SourceConfig
from hfllm.runs.processes import is_main_process

ASKED_FOR = {"where", "limit", "heldout", "contamination"}
MOST = 0.5  # share of a source that may be left out; `allow_dropped` of the source sets another
FILES_NAMED = 3


def account(ledger: Ledger, sources: Iterable[SourceConfig], chosen: Iterable[str] = ()) -> None:
    """Print `account_lines` on the main process, and `check_shares` on every one.

    Args:
        ledger: complete for these sources.
        sources: that were read.
        chosen: reasons by which the step selects on purpose, so that they never stop it.
    """
    sources = list(sources)
    if is_main_process():
        for line in account_lines(ledger, sources):
            print(f"  {line}", flush=True)
    check_shares(ledger, sources, chosen)


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
        yield from note_lines(ledger, name)


def note_lines(ledger: Ledger, name: str) -> Iterator[str]:
    """Of a source what is beside the sums: files passed over, what of the rows nobody reads."""
    yield from _files(ledger, name)
    if unmatched := [what for what, _ in _notes(ledger, name, "unmatched:")]:
        yield f"{name}: `where` or `where_not` match no row with {'; '.join(unmatched)}"
    if unignored := [what for what, _ in _notes(ledger, name, "unignored:")]:
        yield f"{name}: `ignore`: no row has {', '.join(unignored)}"
    if unread := [_noted(*item) for item in _notes(ledger, name, "unread:")]:
        yield f"{name}: not read: {'; '.join(unread)}"
    for item in _notes(ledger, name, "untrained:"):
        yield f"{name}: not trained: {_noted(*item)}"


def _files(ledger: Ledger, name: str) -> Iterator[str]:
    """How many files of which kind are read, and what of a folder is passed over."""
    read = [f"{sum(n.values()):,} {kind}" for kind, n in _notes(ledger, name, "files:")]
    passed = [
        f"{sum(n.values()):,} {why} ({next(iter(n))})"
        for why, n in _notes(ledger, name, "passed_over:")
    ]
    said = [f"files read: {', '.join(read)}"] if read else []
    said += [f"passed over: {', '.join(passed)}"] if passed else []
    if said:
        yield f"{name}: {'; '.join(said)}"


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


def check_shares(
    ledger: Ledger, sources: Iterable[SourceConfig], chosen: Iterable[str] = ()
) -> None:
    """DataError if of a source a larger share is left out than `allow_dropped`."""
    for source in sources:
        _check_share(ledger, source, ASKED_FOR | set(chosen))


def _check_share(ledger: Ledger, source: SourceConfig, asked_for: set[str]) -> None:
    name = label(source)
    came, kept = (ledger.rows[name, bucket]["documents"] for bucket in ("in", "kept"))
    if came and not kept and ledger.rows[name, "dropped:where"]["documents"] == came:
        raise DataError(
            f"source {name!r}: `where` and `where_not` select none of its {came:,} rows; change "
            "them, or leave the source out"
        )
    reasons = {
        reason: count
        for reason, count in ledger.reasons(source=name).items()
        if reason not in asked_for
    }
    lost = sum(reasons.values())
    read = lost + kept
    allowed = MOST if source.allow_dropped is None else source.allow_dropped
    if lost > allowed * read:
        why = "; ".join(f"{n:,} {r}{_first(ledger, name, r)}" for r, n in reasons.items())
        raise DataError(
            f"source {name!r}: {lost:,} of {read:,} rows are left out ({why}): more than "
            f"{allowed:.0%}; mend them, or set `allow_dropped` on the source to a larger share"
        )

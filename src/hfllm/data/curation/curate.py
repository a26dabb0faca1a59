"""Raw documents -> clean documents, with a reason for whatever is dropped.

In order: extract the text of HTML pages, quality filters, decontamination, exact duplicates, near
duplicates, personal data; then a share of the kept goes to heldout.jsonl. What is bad in itself is
dropped before duplicates are looked for, so that "duplicate" means a second copy of a good text.
One process, one pass, streaming; the same input gives the same bytes. Memory: the duplicate
indices, 3.6 kB for each kept document.

Writes kept.jsonl, dropped.jsonl (id, source, reason, detail, first 200 characters), heldout.jsonl
and curation.json. A `truth` column (the small world has one) is never passed on: it is what
`audit` compares the decisions with. The ledger counts held-out documents as dropped:heldout.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from hfllm.data.curation.audit import Audit, known_truth
from hfllm.data.curation.blocks import HELDOUT, Draft, Step, build_steps
from hfllm.data.curation.config import CurateConfig
from hfllm.data.curation.filters import REASONS
from hfllm.data.errors import DataError, Row
from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_documents
from hfllm.data.reading.files import Resolve
from hfllm.data.reading.sources import check_sources, label
from hfllm.recipe.did_you_mean import did_you_mean

SHOWN_CHARS = 200
FILES = {"kept": "kept.jsonl", "dropped": "dropped.jsonl", HELDOUT: "heldout.jsonl"}


def curate(config: CurateConfig, resolve: Resolve, out: Path) -> Ledger:
    """Read, clean and write all sources; returns the ledger (documents and UTF-8 bytes).

    Raises DataError on a wrong config, an unreadable row (see sources.py), or if nothing is left.
    """
    sources = [*config.sources, *config.decontaminate]
    if problems := check_curate(config) + check_sources(sources, resolve):
        raise DataError("; ".join(problems))
    out.mkdir(parents=True, exist_ok=True)
    ledger, audit, replaced = Ledger(), Audit(), Counter[str]()
    steps = build_steps(config, resolve, replaced)
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context((out / file).open("w", encoding="utf-8", newline="\n"))
            for name, file in FILES.items()
            if name != HELDOUT or config.holdout > 0
        }
        for draft in _drafts(config, resolve, ledger):
            _run(draft, steps, ledger)
            audit.add(draft.row, draft.text, draft.reason)
            _write(draft, files, ledger)
    ledger.check()
    _check_result(ledger, config)
    report = {
        "documents": {bucket: ledger.total(bucket) for bucket in ("in", "kept", "dropped")},
        "reasons": ledger.reasons(),
        "ledger": ledger.to_json(),
        "pii": dict(replaced),
        "truth": audit.to_json(),
    }
    (out / "curation.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    return ledger


def check_curate(config: CurateConfig) -> list[str]:
    """Problems of the values, which can be seen without a file; for checks before a run."""
    problems = []
    if not 0 <= config.holdout < 1:
        problems.append(f"holdout is {config.holdout}, but must be a share from 0 to below 1")
    if config.holdout_group not in (None, "title"):
        problems.append(f"holdout_group is {config.holdout_group!r}, but must be null or title")
    if config.dedup and not 0 < config.dedup.similarity <= 1:
        problems.append(f"dedup.similarity is {config.dedup.similarity}, but must be in (0, 1]")
    for source in config.filters.exempt if config.filters else ():
        if source not in map(label, config.sources):
            problems.append(f"filters.exempt names {source!r}, which is none of the sources")
    for source, reasons in config.filters.exempt.items() if config.filters else ():
        for reason in (r for r in reasons if r not in REASONS):
            hint = did_you_mean(reason, REASONS) or f" Known: {', '.join(REASONS)}"
            problems.append(f"filters.exempt.{source}: no filter says {reason!r}.{hint}")
    return problems


def _drafts(config: CurateConfig, resolve: Resolve, ledger: Ledger) -> Iterator[Draft]:
    """Documents as drafts, those that the reader drops (already counted) with their reason."""
    left_out: list[Draft] = []

    def on_drop(row: Row, reason: str) -> None:
        left_out.append(Draft(row, "", reason, counted=True))

    for row in read_documents(config.sources, resolve, ledger, on_drop):
        yield from left_out
        left_out.clear()
        yield Draft(row, row.get("text", ""))
    yield from left_out


def _run(draft: Draft, steps: list[Step], ledger: Ledger) -> None:
    for step in steps:
        if draft.reason:
            return
        step(draft, ledger)


def _write(draft: Draft, files: Mapping[str, IO[str]], ledger: Ledger) -> None:
    """Write a decided document to its file and count it."""
    row, reason = draft.row, draft.reason
    if not draft.counted:
        bucket = f"dropped:{reason}" if reason else "kept"
        ledger.add(row["source"], bucket, documents=1, bytes=len(draft.text.encode()))
    if reason in (None, HELDOUT):
        hidden = ("html", "text", "truth") if known_truth(row) else ("html", "text")
        columns = {key: value for key, value in row.items() if key not in hidden}
        line, name = columns | {"text": draft.text}, reason or "kept"
    else:
        shown = {"reason": reason, "detail": draft.detail, "text": draft.text[:SHOWN_CHARS]}
        line, name = {"id": row["id"], "source": row["source"], **shown}, "dropped"
    files[name].write(json.dumps(line, ensure_ascii=False) + "\n")


def _check_result(ledger: Ledger, config: CurateConfig) -> None:
    why = ", ".join(f"{reason} {count:,}" for reason, count in ledger.reasons().items())
    if not ledger.total("kept"):
        raise DataError(f"curation kept none of {ledger.total('in'):,} documents (dropped: {why})")
    if config.holdout > 0 and not ledger.total(f"dropped:{HELDOUT}"):
        raise DataError(f"holdout {config.holdout} holds out nothing here: raise it")

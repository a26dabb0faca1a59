"""Run the curation blocks over raw documents; every dropped document gets a reason.

Blocks, in order: extract the text of HTML pages, quality filters, decontamination, exact
duplicates, near duplicates, personal data; then a share of the kept is written to heldout.jsonl.
Filters run before deduplication, so that "duplicate" means a second copy of a good text. One
process, one pass, streaming; the same input gives the same bytes. Memory: the duplicate indices,
3.6 kB for each kept document.

Writes kept.jsonl, dropped.jsonl (id, source, reason, detail, first 200 characters), heldout.jsonl
and curation.json. The label column `truth` of the small world is written to none of them; audit.py
compares the decisions with it. The ledger counts held-out documents as dropped:heldout.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from hfllm.data.curation.audit import Audit, known_truth
from hfllm.data.curation.config import CurateConfig
from hfllm.data.curation.decontaminate import Decontaminate, read_tests
from hfllm.data.curation.dedup import ExactDuplicates, NearDuplicates
from hfllm.data.curation.document import Block, Document
from hfllm.data.curation.extract import extract
from hfllm.data.curation.filters import REASONS, QualityFilters
from hfllm.data.curation.holdout import HELDOUT, Holdout
from hfllm.data.curation.pii import ReplacePII
from hfllm.data.ledger import DataError, Drop, Example, Ledger
from hfllm.data.reading.examples import label, read_documents
from hfllm.data.reading.files import Resolve
from hfllm.data.reading.source_checks import check_sources
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.ranges import range_problems

SHOWN_CHARS = 200
FILES = {"kept": "kept.jsonl", "dropped": "dropped.jsonl", HELDOUT: "heldout.jsonl"}


def curate(config: CurateConfig, resolve: Resolve, out: Path) -> Ledger:
    """Read, curate and write all sources.

    Args:
        config: sources and settings of the blocks.
        resolve: name of a step -> its data folder.
        out: folder of the files that are written.

    Returns:
        The ledger, in documents and UTF-8 bytes.

    Raises:
        DataError: a wrong config, an unreadable row (reading/examples.py), or nothing is kept.
    """
    sources = [*config.sources, *config.decontaminate]
    if problems := [
        *range_problems(config),
        *check_curate(config),
        *check_sources(sources, resolve),
    ]:
        raise DataError("; ".join(problems))
    out.mkdir(parents=True, exist_ok=True)
    ledger, audit, pii = Ledger(), Audit(), ReplacePII()
    blocks = build_blocks(config, resolve, pii, ledger)
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context((out / file).open("w", encoding="utf-8", newline="\n"))
            for name, file in FILES.items()
            if name != HELDOUT or config.holdout > 0
        }

        def record(example: Example, text: str, drop: Drop | None) -> None:
            audit.add(example, text, drop.reason if drop else None)
            _write(example, text, drop, files)

        def record_dropped_by_reader(example: Example, drop: Drop) -> None:
            record(example, "", drop)

        for example in read_documents(config.sources, resolve, ledger, record_dropped_by_reader):
            document = Document(example)
            drop = decide(document, blocks, ledger)
            record(example, document.text, drop)
    ledger.check()
    _check_result(ledger, config)
    report = {
        "documents": {bucket: ledger.total(bucket) for bucket in ("in", "kept", "dropped")},
        "reasons": ledger.reasons(),
        "ledger": ledger.to_json(),
        "pii": dict(pii.replaced),
        "truth": audit.to_json(),
    }
    (out / "curation.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    return ledger


def build_blocks(
    config: CurateConfig, resolve: Resolve, pii: ReplacePII, ledger: Ledger
) -> list[Block]:
    """The blocks that are switched on, in the order in which they run.

    Args:
        config: which blocks, and their settings.
        resolve: name of a step -> its data folder, for the sources of held-out tests.
        pii: the block for personal data; the caller reads its counts afterwards.
        ledger: gets a note on tests that cannot be looked for.
    """
    blocks: list[Block] = [extract]
    if config.filters:
        blocks.append(QualityFilters(config.filters))
    if tests := read_tests(config.decontaminate, resolve, config.decontaminate_ngram, ledger):
        blocks.append(Decontaminate(tests))
    if config.dedup and config.dedup.exact:
        blocks.append(ExactDuplicates())
    if config.dedup and config.dedup.near:
        blocks.append(NearDuplicates(config.dedup))
    if config.pii:
        blocks.append(pii)
    if config.holdout > 0:
        blocks.append(Holdout(config.holdout, by_title=config.holdout_group == "title"))
    return blocks


def decide(document: Document, blocks: list[Block], ledger: Ledger) -> Drop | None:
    """Run the blocks until one drops `document`, and count it in `ledger`; None: it is kept."""
    for block in blocks:
        verdict = block(document)
        if isinstance(verdict, Drop):
            ledger.drop(document, verdict.reason)
            return verdict
        if verdict and (removed := document.rewrite(verdict.text)):
            ledger.change(document, verdict.reason, bytes=removed)
    ledger.keep(document)
    return None


def check_curate(config: CurateConfig) -> list[str]:
    """Problems of the config's values, one line each; reads no file, so it can run before a run."""
    problems = []
    if config.holdout_group not in (None, "title"):
        problems.append(f"holdout_group: {config.holdout_group!r} is unknown; set null or title")
    for source in config.filters.exempt if config.filters else ():
        names = [label(one) for one in config.sources]
        if source not in names:
            problems.append(
                f"filters.exempt: {source!r} is no source; use one of {', '.join(names)}"
            )
    for source, reasons in config.filters.exempt.items() if config.filters else ():
        for reason in (r for r in reasons if r not in REASONS):
            hint = did_you_mean(reason, REASONS) or f" Known: {', '.join(REASONS)}"
            problems.append(f"filters.exempt.{source}: no filter has the reason {reason!r}.{hint}")
    return problems


def _write(example: Example, text: str, drop: Drop | None, files: Mapping[str, IO[str]]) -> None:
    """Write a document to kept.jsonl, heldout.jsonl or dropped.jsonl."""
    if drop is None or drop.reason == HELDOUT:
        hidden = ("html", "text", "truth") if known_truth(example) else ("html", "text")
        columns = {key: value for key, value in example.items() if key not in hidden}
        line, name = columns | {"text": text}, drop.reason if drop else "kept"
    else:
        shown = {"reason": drop.reason, "detail": drop.detail, "text": text[:SHOWN_CHARS]}
        line, name = {"id": example["id"], "source": example.source, **shown}, "dropped"
    files[name].write(json.dumps(line, ensure_ascii=False) + "\n")


def _check_result(ledger: Ledger, config: CurateConfig) -> None:
    why = ", ".join(f"{reason} {count:,}" for reason, count in ledger.reasons().items())
    if not ledger.total("in"):
        raise DataError(
            f"there is no document in {', '.join(map(label, config.sources))}; check the sources"
        )
    if not ledger.total("kept"):
        raise DataError(
            f"curation kept none of {ledger.total('in'):,} documents (dropped: {why}); loosen "
            "`filters`, or check the sources"
        )
    if config.holdout > 0 and not ledger.total(f"dropped:{HELDOUT}"):
        raise DataError(f"holdout: a share of {config.holdout} holds out no document; raise it")

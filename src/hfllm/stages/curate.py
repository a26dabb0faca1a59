"""Curate: filter, deduplicate and clean raw documents; every dropped one is counted by reason."""

from __future__ import annotations

from collections.abc import Iterator

from hfllm.data.curation.config import CurateConfig
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import DATA, Figure, Stage
from hfllm.report.collect import StepView
from hfllm.report.number_format import compact, exact, percent
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest


def check(spec: StepSpec) -> Iterator[str]:
    """Check thresholds, and the names of sources and reasons."""
    from hfllm.data.curation.curate import check_curate

    yield from check_curate(spec.config)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no documents."""
    from hfllm.data.reading.first_rows import first_rows as read

    yield from read(step, {"sources": "documents", "decontaminate": "rows"})[1]


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The number of documents kept."""
    return (compact(view.counts.total("kept")), "documents kept") if view.ledger else ()


def sentence(view: StepView) -> str:
    """How many documents were read and kept, and the most frequent reason for dropping."""
    ledger = view.counts
    reasons = ledger.reasons()
    # documents that `where` leaves out were not asked for, so they do not count as read
    read, kept = ledger.total("in") - reasons.pop("where", 0), ledger.total("kept")
    if not read:
        return ""
    share = percent(kept / read)
    return (
        f"Of {exact(read)} raw documents, curation kept {exact(kept)} ({share})"
        f"{_most_frequent(reasons)}."
    )


def _most_frequent(reasons: dict[str, int]) -> str:
    """The most frequent reason to drop a document, or all that share the first place."""
    most = max(reasons.values(), default=0)
    first = [f"“{name.replace('_', ' ')}”" for name, count in reasons.items() if count == most]
    if not most:
        return ""
    if len(first) == 1:
        return f"; the most frequent reason to drop one was {first[0]} ({exact(most)})"
    named = f"{', '.join(first[:-1])} and {first[-1]}"
    return f"; the most frequent reasons to drop one were {named} ({exact(most)} each)"


STAGE = Stage(
    config=CurateConfig,
    makes=DATA,
    check=check,
    first_rows=first_rows,
    key_figure=key_figure,
    sentence=sentence,
)


def run(config: CurateConfig, step: Step, manifest: Manifest) -> None:
    """Run the curation; write data/ and put the ledger into the manifest."""
    from hfllm.data.curation.curate import curate
    from hfllm.data.reading.account import check_shares, note_lines
    from hfllm.data.reading.examples import label

    ledger = curate(config, step.data_of, step.data)
    ledger.check()
    manifest.ledger = ledger.to_json()
    read, kept = ledger.total("in"), ledger.total("kept")
    manifest.metrics |= {"documents_in": read, "documents_kept": kept}
    manifest.metrics |= {"bytes_in": ledger.total("in", "bytes")}
    manifest.metrics |= {"bytes_kept": ledger.total("kept", "bytes")}
    print(f"  {read:,} documents in, {kept:,} kept")
    for reason, documents in ledger.reasons().items():
        print(f"  {documents:>9,} dropped: {reason}")
    for name in dict.fromkeys(map(label, config.sources)):
        for line in note_lines(ledger, name):
            print(f"  {line}")
    check_shares(
        ledger, config.sources, chosen=set(ledger.reasons()) - {"unreadable", "missing_column"}
    )
    if not kept:
        raise ValueError(
            f"{step.name}: no document is left; see {step.data}/dropped.jsonl for the reasons "
            f"and loosen {step.name}.filters"
        )

"""Curate: raw documents -> clean documents, with a reason for whatever is dropped."""

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
    """Thresholds, and names of sources and reasons that are none."""
    from hfllm.data.curation.curate import check_curate

    yield from check_curate(spec.config)


def key_figure(view: StepView) -> Figure | tuple[()]:
    """Documents kept."""
    return (compact(view.counts.total("kept")), "documents kept") if view.ledger else ()


def sentence(view: StepView) -> str:
    """How many documents came and stayed, and what most of the others fell to."""
    ledger = view.counts
    reasons = ledger.reasons()
    came, kept = ledger.total("in") - reasons.pop("where", 0), ledger.total("kept")  # as selected
    if not came:
        return ""
    worst = next(iter(reasons.items()), None)
    reason = ""
    if worst and worst[1]:
        reason = (
            f"; most of what was dropped fell to “{worst[0].replace('_', ' ')}” ({exact(worst[1])})"
        )
    share = percent(kept / came)
    return f"Of {exact(came)} raw documents, curation kept {exact(kept)} ({share}){reason}."


STAGE = Stage(
    config=CurateConfig, makes=DATA, check=check, key_figure=key_figure, sentence=sentence
)


def run(config: CurateConfig, step: Step, manifest: Manifest) -> None:
    """Extract, filter, deduplicate, remove PII, decontaminate; the ledger goes to the manifest."""
    from hfllm.data.curation.curate import curate

    ledger = curate(config, step.data_of, step.data)
    ledger.check()
    manifest.ledger = ledger.to_json()
    came, kept = ledger.total("in"), ledger.total("kept")
    manifest.metrics |= {"documents_in": came, "documents_kept": kept}
    manifest.metrics |= {"bytes_in": ledger.total("in", "bytes")}
    manifest.metrics |= {"bytes_kept": ledger.total("kept", "bytes")}
    print(f"  {came:,} documents in, {kept:,} kept")
    for reason, documents in ledger.reasons().items():
        print(f"  {documents:>9,} dropped: {reason}")
    if not kept:
        raise ValueError(
            f"{step.name}: no document is left; see {step.data}/dropped.jsonl for the reasons "
            f"and loosen {step.name}.filters"
        )

"""Curate: raw documents -> clean documents, with a reason for whatever is dropped."""

from __future__ import annotations

from hfllm.data.curation.curate import curate
from hfllm.recipe.data_schema import CurateConfig
from hfllm.runs.layout import Step
from hfllm.runs.record import recording


def run(config: CurateConfig, step: Step) -> None:
    """Extract, filter, deduplicate, remove PII, decontaminate; the ledger goes to the manifest."""
    with recording(step) as manifest:
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

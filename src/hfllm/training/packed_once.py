"""Pack rows on one process, and map the same files on all; a resumed run takes them up again.

A folder of a split holds a folder per source (data/packing/dataset.py), their ledger, and where
documents may not share rows the reason.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfllm.data.ledger import Ledger
from hfllm.data.packing.dataset import META, PackedDataset, PackedSplit
from hfllm.runs.layout import Step
from hfllm.runs.manifest import write_atomically
from hfllm.runs.processes import WAIT_SECONDS, is_main_process

LEDGER = "ledger.json"
ONE_A_ROW = "one_a_row.txt"  # why documents do not share rows


def packed_once(
    folder: Path, args: Any, make: Callable[[], Ledger], problem: str | None = None
) -> PackedSplit:
    """Call `make` on one process, then read the packed rows on every process.

    On one process of all machines, not one per machine: machines may share the run folder.

    Args:
        folder: where `make` writes a folder per source; nothing is packed if its ledger exists.
        args: TrainingArguments, which know the main process.
        make: packs the sources and returns their ledger.
        problem: known to the main process: why `make` writes one document a row. Rows that were
            packed otherwise, before a resume, are packed again.
    """
    reason = folder / ONE_A_ROW
    _wait_for(folder / LEDGER)
    with args.main_process_first(local=False, desc="packing"):
        if problem and not reason.is_file():
            (folder / LEDGER).unlink(missing_ok=True)
        if not (folder / LEDGER).is_file():
            ledger = make()
            ledger.check()
            if problem:
                write_atomically(reason, problem)
            write_atomically(folder / LEDGER, json.dumps(ledger.to_json()))
    ledger = Ledger.from_json(json.loads((folder / LEDGER).read_text()))
    found = {p.parent.name: PackedDataset(p.parent) for p in sorted(folder.glob(f"*/{META}"))}
    return PackedSplit(found, ledger, reason.read_text() if reason.is_file() else None)


def note_one_a_row(step: Step, train: PackedSplit, notes: list[str]) -> None:
    """Print, and add to `notes` (the manifest's), that each document got a row of its own."""
    if train.one_a_row is None:
        return
    share = f"{train.padding_share:.0%} of the rows is padding"
    notes.append(f"{step.name}: {train.one_a_row}: one document a row, {share}")
    if is_main_process():
        print(notes[-1], flush=True)


def _wait_for(ledger: Path) -> None:
    """Wait on the other processes: a barrier times out after 30 minutes, packing may take hours."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (is_main_process() or ledger.is_file()) and time.monotonic() < deadline:
        time.sleep(0.5)

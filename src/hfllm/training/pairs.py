"""Preference pairs of a training step: read, held out by prompt, the held-out ones written down.

Shared by what learns from pairs: the reward model, and any stage that takes {chosen, rejected}.
"""

from __future__ import annotations

from typing import Any

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.examples import read_pairs
from hfllm.recipe.config import PairDataConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest, write_lines
from hfllm.runs.processes import is_main_process
from hfllm.training.preference import pair_rows, split_by_prompt


def read_split(
    data: PairDataConfig, step: Step, ledger: Ledger, manifest: Manifest
) -> tuple[list[Example], list[Example]]:
    """Training and held-out pairs.

    The ledger has what reading the former or the split leaves out, and expects a word about each
    training pair; what a source of held-out pairs leaves out is a note of the manifest.
    """
    train = list(read_pairs(data.mixture, step.data_of, ledger))
    if data.heldout:
        apart = Ledger()
        tests = list(read_pairs(data.heldout, step.data_of, apart))
        manifest.notes += apart.left_out("held-out pairs")
        return train, tests
    if not data.holdout:
        return train, []
    kept, heldout = split_by_prompt(train, data.holdout, step.seed)
    for pair in heldout:
        ledger.drop(pair, "heldout")
    return kept, heldout


def heldout_rows(
    pairs: list[Example], tokenizer: Any, seq_len: int, step: Step, manifest: Manifest
) -> tuple[list[dict[str, list[int]]], list[Example]]:
    """Rows of the held-out pairs that fit, and these pairs, written for the evaluation."""
    if not pairs:
        return [], []
    kept: list[Example] = []
    rows = pair_rows(tokenizer, pairs, seq_len, kept=kept)
    if lost := len(pairs) - len(kept):
        manifest.notes.append(f"{lost} held-out pairs do not fit data.seq_len or the template")
    if is_main_process():
        write_lines(step.data / "heldout.jsonl", kept)
    return rows, kept

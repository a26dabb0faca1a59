"""Read the preference pairs of a training step, hold some out, and write these for the evaluation.

For every stage that trains on {prompt, chosen, rejected}, both answers or one: `reward`, `dpo`,
`kto`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfllm.data.curation.decontaminate import NGRAM, drop_contaminated, read_tests
from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.account import account
from hfllm.data.reading.examples import read_pairs
from hfllm.data.reading.first_examples import Read
from hfllm.recipe.config import LabelledDataConfig, PairDataConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest, write_lines
from hfllm.runs.processes import is_main_process
from hfllm.training.preference import pair_rows, split_by_prompt


def read_split(
    data: PairDataConfig | LabelledDataConfig,
    step: Step,
    ledger: Ledger,
    manifest: Manifest,
    reader: Read = read_pairs,
) -> tuple[list[Example], list[Example]]:
    """Read the training and the held-out pairs.

    Args:
        data: sources; held-out pairs are those of `heldout`, or the share `holdout` of the prompts.
        step: resolves sources that are steps; its seed decides the split.
        ledger: counts training pairs that are dropped by the reader or held out, and expects `keep`
            or `drop` of the others.
        manifest: gets a note on what the source of held-out pairs drops, which is printed too.
        reader: `read_pairs` or `read_labelled`.
    """
    tests_to_avoid = read_tests(data.decontaminate, step.data_of, NGRAM, ledger)
    read = reader(data.mixture, step.data_of, ledger)
    train = list(drop_contaminated(read, tests_to_avoid, ledger, ("prompt", "chosen", "rejected")))
    if data.heldout:
        heldout_ledger = Ledger()
        tests = list(reader(data.heldout, step.data_of, heldout_ledger))
        for pair in tests:
            heldout_ledger.keep(pair)
        account(heldout_ledger, data.heldout)
        manifest.notes += heldout_ledger.left_out("held-out pairs")
        return train, tests
    if not data.holdout:
        return train, []
    kept, heldout = split_by_prompt(train, data.holdout, step.seed)
    for pair in heldout:
        ledger.drop(pair, "heldout")
    return kept, heldout


def heldout_rows(
    pairs: list[Example],
    tokenizer: Any,
    seq_len: int,
    step: Step,
    manifest: Manifest,
    rows_of: Callable[..., list[Any]] = pair_rows,
) -> tuple[list[Any], list[Example]]:
    """Render the held-out pairs, and write those that fit to data/heldout.jsonl.

    Args:
        pairs: of `read_split`.
        tokenizer: with the chat template.
        seq_len: the most tokens of a row.
        step: gives the data folder.
        manifest: gets a note on pairs that do not fit.
        rows_of: (tokenizer, pairs, seq_len, kept=list) -> rows: `pair_rows`, `labelled_rows`.

    Returns:
        The rows, and the pairs that they were made of.
    """
    if not pairs:
        return [], []
    kept: list[Example] = []
    rows = rows_of(tokenizer, pairs, seq_len, kept=kept)
    if lost := len(pairs) - len(kept):
        note = f"{lost:,} of {len(pairs):,} held-out pairs do not fit data.seq_len or the template"
        manifest.notes.append(note)
        if is_main_process():
            print(f"  {note}", flush=True)
    if is_main_process():
        write_lines(step.data / "heldout.jsonl", kept)
    return rows, kept

"""Sources -> packed rows on disk, with an exact ledger: what a training step reads.

The main process tokenises and packs each source once into runs/NAME/STEP/data; the other ranks and
a resumed run map the same files. The order is a function of (seed, step), so a resumed run and a
run on another number of processes see the same rows.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hfllm.data.curation.decontaminate import CHAT_NGRAM, drop_contaminated_chats, read_tests
from hfllm.data.ledger import Example, Ledger
from hfllm.data.packing.dataset import (
    META,
    PackedDataset,
    PackedSplit,
    folder_name,
    write_packed,
)
from hfllm.data.packing.pack import PackedRow, PackStats, pack
from hfllm.data.reading.examples import label, read_chats, read_texts
from hfllm.recipe.config import ChatDataConfig, SourceConfig, TextDataConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import write_atomically
from hfllm.runs.processes import WAIT_SECONDS, is_main_process
from hfllm.tokenization.encode import encode_texts
from hfllm.tokenization.loss_mask import mask_gate

BATCH = 512  # documents per call of the tokenizer
LEDGER = "ledger.json"


def packed_documents(
    data: TextDataConfig, step: Step, args: Any, tokenizer: Any
) -> tuple[PackedSplit, PackedSplit | None]:
    """Training and held-out documents of a step, packed once and read by every process.

    `args` are the TrainingArguments, which say which process packs. Raises ValueError where a
    source gives nothing, or the tokenizer has nothing to separate documents with.
    """
    folder, apart = step.data / "train", step.data / "heldout"
    train = packed_once(
        folder, args, lambda: text_rows(data.mixture, data.seq_len, step, tokenizer, folder)
    )
    if not data.heldout:
        return train, None
    most = data.max_heldout_tokens
    return train, packed_once(
        apart, args, lambda: text_rows(data.heldout, data.seq_len, step, tokenizer, apart, most)
    )


def packed_chats(
    data: ChatDataConfig, step: Step, args: Any, tokenizer: Any
) -> tuple[PackedSplit, PackedSplit | None]:
    """The same of conversations, and of the documents that are replayed among them."""
    folder, apart = step.data / "train", step.data / "heldout"

    def make() -> Ledger:
        ledger = chat_rows(data.mixture, data, step, tokenizer, folder)
        if data.replay:
            ledger.merge(text_rows(data.replay, data.seq_len, step, tokenizer, folder))
        return ledger

    train = packed_once(folder, args, make)
    if not data.heldout:
        return train, None
    whole = dataclasses.replace(data, decontaminate=[])  # they may be the tests themselves
    return train, packed_once(
        apart,
        args,
        lambda: chat_rows(data.heldout, whole, step, tokenizer, apart, show=False),
    )


def packed_once(folder: Path, args: Any, make: Callable[[], Ledger]) -> PackedSplit:
    """Run `make` (it writes a folder per source) on one process of all, then read it everywhere.

    One of all machines, not one of each: the run folder may be shared by several.
    """
    _wait_for(folder / LEDGER)
    with args.main_process_first(local=False, desc="packing"):
        if not (folder / LEDGER).is_file():
            ledger = make()
            ledger.check()
            write_atomically(folder / LEDGER, json.dumps(ledger.to_json()))
    ledger = Ledger.from_json(json.loads((folder / LEDGER).read_text()))
    found = {p.parent.name: PackedDataset(p.parent) for p in sorted(folder.glob(f"*/{META}"))}
    return PackedSplit(found, ledger)


def _wait_for(ledger: Path) -> None:
    """Other processes: a barrier alone ends them after half an hour, and packing may take hours."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (is_main_process() or ledger.is_file()) and time.monotonic() < deadline:
        time.sleep(0.5)


def text_rows(
    sources: list[SourceConfig], seq_len: int, step: Step, tokenizer: Any, folder: Path,
    max_tokens: int | None = None,
) -> Ledger:  # fmt: skip
    """Tokenise and pack documents, one folder per source. Needs a tokenizer with bos and eos."""
    if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        raise ValueError(f"{step.name}: the tokenizer has no bos or eos to separate documents")
    ledger = Ledger()
    for source in sources:
        stats = PackStats()
        documents = _token_lists(source, step, tokenizer, ledger, max_tokens)
        rows = pack(
            documents,
            seq_len,
            tokenizer.pad_token_id,
            (tokenizer.bos_token_id, tokenizer.eos_token_id),
            stats,
        )
        write_packed(rows, folder / folder_name(label(source)), len(tokenizer), stats)
    return ledger


def _token_lists(
    source: SourceConfig, step: Step, tokenizer: Any, ledger: Ledger, max_tokens: int | None
) -> Iterator[list[int]]:
    seen = 0
    for batch in _batches(read_texts([source], step.data_of, ledger)):
        encoded = encode_texts(tokenizer, [document["text"] for document in batch])
        for document, ids in zip(batch, encoded, strict=True):
            if max_tokens is not None and seen >= max_tokens:
                ledger.drop(document, "limit", tokens=len(ids))
                continue
            seen += len(ids)
            ledger.keep(document, tokens=len(ids))
            yield ids


def _batches(documents: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def chat_rows(
    sources: list[SourceConfig], config: ChatDataConfig, step: Step, tokenizer: Any, folder: Path,
    show: bool = True,
) -> Ledger:  # fmt: skip
    """Render conversations through the mask gate and pack them, one folder per source."""
    ledger = Ledger()
    tests = read_tests(config.decontaminate, step.data_of, CHAT_NGRAM)
    for source in sources:
        read = read_chats([source], step.data_of, ledger)
        chats = list(drop_contaminated_chats(read, tests, ledger))
        if not chats:
            name = label(source)
            raise ValueError(
                f"{step.name}: source '{name}' gave no conversation; dropped by reason: "
                f"{ledger.reasons(source=name) or 'none'}"
            )
        report = mask_gate(tokenizer, chats, config.seq_len, ledger, turns=config.turns or "all")
        if show:
            report.show()
        stats = PackStats()
        if config.packing:
            rows = pack(report.rows, config.seq_len, tokenizer.pad_token_id, None, stats)
        else:
            pad = tokenizer.pad_token_id
            rows = (_alone(row, config.seq_len, pad, stats) for row in report.rows)
        write_packed(rows, folder / folder_name(label(source)), len(tokenizer), stats)
    return ledger


def _alone(row: Any, seq_len: int, pad_id: int, stats: PackStats) -> PackedRow:
    """One conversation per row (packing: false), padded to seq_len."""
    return next(pack([row], seq_len, pad_id, None, stats))

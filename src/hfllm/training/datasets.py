"""Tokenise and pack the sources of a training step into rows on disk, counted in a ledger.

The main process packs each source once into runs/NAME/STEP/data; the other ranks and a resumed run
memory-map the same files (packed_once.py). The order of the rows is a function of (seed, step), so
a resumed run and a run on another number of processes see the same rows. Where documents of a
packed row would see each other (modeling/isolation.py), each gets a row of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hfllm.data.curation.decontaminate import NGRAM, drop_contaminated, read_tests
from hfllm.data.ledger import Example, Ledger
from hfllm.data.packing.dataset import PackedSplit, write_packed
from hfllm.data.packing.folders import check_folders, folder_name
from hfllm.data.packing.pack import WINDOW, PackedRow, PackStats, pack
from hfllm.data.reading.account import MOST, account
from hfllm.data.reading.examples import label, read_chats, read_texts
from hfllm.modeling.isolation import prepare_for_packing
from hfllm.recipe.config import ChatDataConfig, SourceConfig, TextDataConfig
from hfllm.runs.layout import Step
from hfllm.tokenization.encode import encode_texts
from hfllm.tokenization.loss_mask import mask_gate
from hfllm.tokenization.separators import said, separators
from hfllm.training.packed_once import note_one_a_row, packed_once

BATCH = 512  # documents per call of the tokenizer


class RowShape(NamedTuple):
    """Tokens of a row, and whether documents share rows."""

    seq_len: int
    packed: bool = True


class Selection(NamedTuple):
    """Which documents of the sources are packed.

    max_tokens: of each source, about; None: all.
    tests: held-out tests; documents that contain one are left out.
    """

    max_tokens: int | None = None
    tests: Sequence[SourceConfig] = ()


ALL = Selection()


def packed_documents(
    data: TextDataConfig, step: Step, args: Any, tokenizer: Any, models: Sequence[Any],
    notes: list[str],
) -> tuple[PackedSplit, PackedSplit | None]:  # fmt: skip
    """Pack the training and held-out documents of a step, once, for every process.

    Args:
        data: sources and seq_len.
        step: gives the folder, and the data of other steps.
        args: TrainingArguments, which know the main process.
        tokenizer: needs a token that separates documents.
        models: all that are run on the rows, before accelerate wraps them; their caches are turned
            off. Where documents of a packed row see each other in one, each gets a row of its own.
        notes: the manifest's; gets a line if that is so.

    Returns:
        The training and the held-out split; None without held-out sources.

    Raises:
        ValueError: a source gives no document, or no token separates documents.
    """
    folder, heldout_folder = step.data / "train", step.data / "heldout"
    check_folders(f"{step.name}.data.mixture", map(label, data.mixture))
    check_folders(f"{step.name}.data.heldout", map(label, data.heldout))
    problem = prepare_for_packing(models, data.seq_len)
    shape = RowShape(data.seq_len, problem is None)
    train = packed_once(
        folder, args, lambda: pack_texts(data.mixture, shape, step, tokenizer, folder), problem
    )
    note_one_a_row(step, train, notes)
    if not data.heldout:
        return train, None
    most = data.max_heldout_tokens
    return train, packed_once(
        heldout_folder,
        args,
        lambda: pack_texts(data.heldout, shape, step, tokenizer, heldout_folder, Selection(most)),
        problem,
    )


def packed_chats(
    data: ChatDataConfig, step: Step, args: Any, tokenizer: Any, models: Sequence[Any],
    notes: list[str],
) -> tuple[PackedSplit, PackedSplit | None]:  # fmt: skip
    """Pack conversations, and the documents that are replayed among them.

    Arguments and result as in `packed_documents`. Raises ValueError if a source gives no
    conversation, or if none of its conversations passes the loss-mask gate.
    """
    folder, heldout_folder = step.data / "train", step.data / "heldout"
    check_folders(f"{step.name}.data.mixture", map(label, [*data.mixture, *data.replay]))
    check_folders(f"{step.name}.data.heldout", map(label, data.heldout))
    shares = data.packing or bool(data.replay)  # are there rows of several documents?
    problem = prepare_for_packing(models, data.seq_len, shares)
    shape = RowShape(data.seq_len, problem is None)
    data = dataclasses.replace(data, packing=data.packing and problem is None)

    def make() -> Ledger:
        ledger = pack_chats(data.mixture, data, step, tokenizer, folder)
        if data.replay:
            unseen = Selection(tests=data.decontaminate)
            ledger.merge(pack_texts(data.replay, shape, step, tokenizer, folder, unseen))
        return ledger

    train = packed_once(folder, args, make, problem)
    note_one_a_row(step, train, notes)
    if not data.heldout:
        return train, None
    whole = dataclasses.replace(data, decontaminate=[])  # held-out chats may be the tests
    return train, packed_once(
        heldout_folder,
        args,
        lambda: pack_chats(data.heldout, whole, step, tokenizer, heldout_folder, show=False),
        problem,
    )


def pack_texts(
    sources: list[SourceConfig], shape: RowShape, step: Step, tokenizer: Any, folder: Path,
    selection: Selection = ALL,
) -> Ledger:  # fmt: skip
    """Tokenise and pack documents, one folder per source.

    Args:
        sources: of documents with `text`.
        shape: of the rows.
        step: resolves sources that are steps.
        tokenizer: needs a token that separates documents (ValueError).
        folder: gets a folder per source.
        selection: of the documents; the others are dropped as "limit" or "contamination".
    """
    around = separators(tokenizer)
    if not around.after:
        raise ValueError(
            f"{step.name}: the tokenizer has no eos to separate documents; set another `tokenizer:`"
        )
    if note := said(tokenizer):
        print(f"{step.name}: {note}", flush=True)
    ledger = Ledger()
    tests = read_tests(selection.tests, step.data_of, NGRAM)
    for source in sources:
        stats = PackStats()
        read = read_texts([source], step.data_of, ledger)
        kept = drop_contaminated(read, tests, ledger, ("text",))
        documents = _token_lists(kept, tokenizer, ledger, selection.max_tokens)
        rows = pack(
            documents,
            shape.seq_len,
            tokenizer.pad_token_id,
            (around.before, around.after),
            stats,
            WINDOW if shape.packed else 1,
        )
        write_packed(rows, folder / folder_name(label(source)), len(tokenizer), stats)
    account(ledger, sources)
    return ledger


def _token_lists(
    documents: Iterable[Example], tokenizer: Any, ledger: Ledger, max_tokens: int | None
) -> Iterator[list[int]]:
    seen = 0
    for batch in _batches(documents):
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


def pack_chats(
    sources: list[SourceConfig], config: ChatDataConfig, step: Step, tokenizer: Any, folder: Path,
    show: bool = True,
) -> Ledger:  # fmt: skip
    """Render conversations, check their loss mask, and pack them, one folder per source.

    Args:
        sources: of conversations.
        config: seq_len, which turns are trained, packing, tests to decontaminate against.
        step: resolves sources that are steps.
        tokenizer: with the chat template.
        folder: gets a folder per source.
        show: print the report of the loss-mask gate.

    Raises:
        ValueError: a source gives no conversation, or none passes the loss-mask gate.
    """
    ledger = Ledger()
    tests = read_tests(config.decontaminate, step.data_of, NGRAM, ledger)
    for source in sources:
        read = read_chats([source], step.data_of, ledger)
        chats = list(drop_contaminated(read, tests, ledger, ("messages",)))
        if not chats:
            name = label(source)
            raise ValueError(
                f"{step.name}: source '{name}' gave no conversation; dropped by reason: "
                f"{ledger.reasons(source=name) or 'none'}"
            )
        allowed = MOST if source.allow_dropped is None else source.allow_dropped
        turns = config.turns or "all"
        report = mask_gate(tokenizer, chats, config.seq_len, ledger, allowed, turns)
        if show:
            report.show()
        account(ledger, [source])
        stats = PackStats()
        if config.packing:
            rows = pack(report.rows, config.seq_len, tokenizer.pad_token_id, None, stats)
        else:
            pad = tokenizer.pad_token_id
            rows = (_unpacked_row(row, config.seq_len, pad, stats) for row in report.rows)
        write_packed(rows, folder / folder_name(label(source)), len(tokenizer), stats)
    return ledger


def _unpacked_row(row: Any, seq_len: int, pad_id: int, stats: PackStats) -> PackedRow:
    """A row of one conversation (packing: false), padded to seq_len."""
    return next(pack([row], seq_len, pad_id, None, stats))

"""Sources -> packed rows on disk -> the mixture that a trainer reads, with an exact ledger.

The main process tokenises and packs each source once into runs/NAME/STEP/data; the other ranks and
a resumed run map the same files. The order is a function of (seed, step), so a resumed run and a
run on another number of processes see the same rows.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset

from hfllm.data.curation.decontaminate import CHAT_NGRAM, read_tests, without_tests
from hfllm.data.ledger import Example, Ledger
from hfllm.data.packing.dataset import META, PackedDataset, write_packed
from hfllm.data.packing.mixture import MixtureDataset
from hfllm.data.packing.pack import PackStats, Row, pack
from hfllm.data.reading.examples import label, read_chats, read_texts
from hfllm.recipe.config import ChatDataConfig, SourceConfig
from hfllm.runs.layout import Step
from hfllm.runs.manifest import write_atomically
from hfllm.runs.processes import WAIT_SECONDS, is_main_process
from hfllm.tokenization.encode import encode_texts
from hfllm.tokenization.loss_mask import mask_gate

BATCH = 512  # documents per call of the tokenizer
LEDGER = "ledger.json"


@dataclass
class Rows:
    """The packed sources of one split, by label, and what was counted while making them."""

    sources: dict[str, PackedDataset]
    ledger: Ledger

    def joined(self) -> Any:
        """Every source after the other, for an evaluation."""
        return ConcatDataset(list(self.sources.values()))

    @property
    def total(self) -> int:
        """Rows over all sources."""
        return sum(len(rows) for rows in self.sources.values())

    @property
    def stats(self) -> dict[str, int]:
        """Packing counts summed over the sources."""
        keys = ("documents", "tokens", "trained_tokens", "split", "rows", "padding")
        return {k: sum(rows.stats[k] for rows in self.sources.values()) for k in keys}


def packing_first(args: Any) -> Callable[[], AbstractContextManager]:
    """The one process of all that packs: the run folder may be shared by several machines."""
    return functools.partial(args.main_process_first, local=False, desc="packing")


def packed_once(
    folder: Path, main_first: Callable[[], AbstractContextManager], make: Callable[[], Ledger]
) -> Rows:
    """Run `make` (it writes a folder per source) on the main process, then read it everywhere."""
    _wait_for(folder / LEDGER)
    with main_first():
        if not (folder / LEDGER).is_file():
            ledger = make()
            ledger.check()
            write_atomically(folder / LEDGER, json.dumps(ledger.to_json()))
    ledger = Ledger.from_json(json.loads((folder / LEDGER).read_text()))
    found = {p.parent.name: PackedDataset(p.parent) for p in sorted(folder.glob(f"*/{META}"))}
    return Rows(found, ledger)


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
        write_packed(rows, folder / safe(label(source)), len(tokenizer), stats)
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
        chats = list(without_tests(read, tests, ledger))
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
        write_packed(rows, folder / safe(label(source)), len(tokenizer), stats)
    return ledger


def _alone(row: Any, seq_len: int, pad_id: int, stats: PackStats) -> Row:
    """One conversation per row (packing: false), padded to seq_len."""
    return next(pack([row], seq_len, pad_id, None, stats))


def safe(name: str) -> str:
    """A source's label as a folder name."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def mixture(rows: Rows, sources: list[SourceConfig], total_rows: int, seed: int) -> MixtureDataset:
    """`total_rows` rows in the order of (seed, step), by the sources' weights."""
    weights = shares(rows, sources) if any(s.weight is not None for s in sources) else None
    return _mixed(rows, sources, weights, total_rows, seed)


def chat_mixture(
    rows: Rows, data: ChatDataConfig, total_rows: Callable[[int], int], seed: int
) -> MixtureDataset:
    """The same, with `replay_share` of the rows from the `replay` sources where there are any.

    `total_rows` says how many to train of so many rows in one pass: a pass is one over the chats.
    """
    if not data.replay:
        return mixture(rows, data.mixture, total_rows(rows.total), seed)
    in_pass = sum(len(rows.sources[safe(label(s))]) for s in data.mixture) / (1 - data.replay_share)
    chats, replay = shares(rows, data.mixture), shares(rows, data.replay)
    weights = {name: (1 - data.replay_share) * share for name, share in chats.items()}
    weights |= {name: data.replay_share * share for name, share in replay.items()}
    total = total_rows(round(in_pass))
    return _mixed(rows, [*data.mixture, *data.replay], weights, total, seed)


def shares(rows: Rows, sources: list[SourceConfig]) -> dict[str, float]:
    """Shares of the sources among themselves: by weight, or by rows where there is none."""
    names = [safe(label(source)) for source in sources]
    missing = [n for n, source in zip(names, sources, strict=True) if source.weight is None]
    if missing and len(missing) < len(sources):
        raise ValueError(f"mixture: give every source a weight or none; without one: {missing}")
    size = {n: len(rows.sources[n]) for n in missing}
    parts = [s.weight if s.weight else size[n] for n, s in zip(names, sources, strict=True)]
    return {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}


def _mixed(
    rows: Rows,
    sources: list[SourceConfig],
    weights: dict[str, float] | None,
    total_rows: int,
    seed: int,
) -> MixtureDataset:
    if len({safe(label(s)) for s in sources}) < len(sources):
        raise ValueError("data.mixture: two sources have the same folder name; give them a `name:`")
    sources_by_name: Any = rows.sources
    return MixtureDataset(sources_by_name, weights, total_rows, seed)

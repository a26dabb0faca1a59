"""Packed rows on disk: written as a stream, read as a memory-mapped, map-style data set.

A folder holds `tokens.bin` (uint16 if the vocabulary fits, else uint32), `flags.bin` (one byte per
token: flag 1, a document starts; flag 2, the token is trained) and `packed.json`: 3 bytes a token
instead of the 12 of three int32 columns. Labels and positions follow from the flags, because every
label is -100 or the token itself, and every position counts from the last start. Map-style and not
iterable, so that a resumed run skips the rows that it has seen at no cost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset

from hfllm.data.ledger import Ledger
from hfllm.data.packing.pack import IGNORED, PackedCollator, PackedRow, PackStats, positions_of

if TYPE_CHECKING:
    from datasets import Dataset

START, TRAINED = 1, 2
META = "packed.json"


class PackedDataset(torch.utils.data.Dataset):
    """The rows of a folder written by `write_packed`; `stats` are the counts of packing."""

    def __init__(self, folder: str | Path) -> None:
        """Map the files into memory; ValueError if one is missing or truncated."""
        self.folder = Path(folder)
        try:
            meta = json.loads((self.folder / META).read_text())
        except FileNotFoundError:
            raise ValueError(
                f"{folder}: no packed data, {META} is missing; remove the step's data folder to "
                "pack again"
            ) from None
        self.seq_len: int = meta["seq_len"]
        self.stats: dict[str, Any] = meta["stats"]
        shape = (self.stats["rows"], self.seq_len)
        self.tokens = _open(self.folder / "tokens.bin", np.dtype(meta["dtype"]), shape)  # (N, L)
        self.flags = _open(self.folder / "flags.bin", np.dtype(np.uint8), shape)  # (N, L)

    def __len__(self) -> int:
        """The number of rows."""
        return self.stats["rows"]

    def __getitem__(self, index: int) -> PackedRow:
        """Row `index`: {"input_ids", "labels", "position_ids"}, int32, (seq_len,) each."""
        ids = self.tokens[index].astype(np.int32)
        flags = self.flags[index]
        labels = np.where(flags & TRAINED, ids, np.int32(IGNORED))
        return {
            "input_ids": ids,
            "labels": labels,
            "position_ids": positions_of((flags & START).astype(bool)),
        }

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickle the path alone: a data loader's worker maps the files again, nothing is copied."""
        return PackedDataset, (self.folder,)


def write_packed(
    rows: Iterable[PackedRow], folder: str | Path, vocab_size: int, stats: PackStats
) -> PackedDataset:
    """Write packed rows into a folder; `packed.json` is written last.

    Args:
        rows: of `pack(..., stats=stats)`.
        folder: is created.
        vocab_size: of the tokenizer; up to 65,536 a token takes two bytes, else four.
        stats: filled by `pack` while the rows are drawn.

    Raises:
        ValueError: there is no row.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / META).unlink(missing_ok=True)
    dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
    seq_len = 0
    with open(folder / "tokens.bin", "wb") as tokens, open(folder / "flags.bin", "wb") as flags:
        for row in rows:
            seq_len = len(row["input_ids"])
            assert row["input_ids"].max() < vocab_size, "a token lies outside the vocabulary"
            tokens.write(row["input_ids"].astype(dtype).tobytes())
            starts = (row["position_ids"] == 0) * np.uint8(START)
            trained = (row["labels"] != IGNORED) * np.uint8(TRAINED)
            flags.write((starts | trained).astype(np.uint8).tobytes())
    if not seq_len:
        raise ValueError(
            f"{folder}: nothing to pack, the sources gave no document; check their `path`, "
            "`where` and `limit`"
        )
    meta = {"seq_len": seq_len, "dtype": dtype.name, "stats": stats.to_json()}
    temporary = folder / (META + ".tmp")
    temporary.write_text(json.dumps(meta, indent=1))
    os.replace(temporary, folder / META)
    return PackedDataset(folder)


def as_hf_dataset(rows: Sequence[PackedRow]) -> Dataset:
    """A `datasets.Dataset` view of map-style rows (packed, mixed or a list), without a copy.

    TRL's SFTTrainer accepts no other class. The data set holds row numbers; a row is looked up
    when it is read. Train with `remove_unused_columns=False`.
    """
    from datasets import Dataset  # 0.6 s, not needed for pretraining

    def look_up(batch: dict[str, list[int]]) -> dict[str, list[np.ndarray]]:
        found = [rows[i] for i in batch["row"]]
        return {name: [row[name] for row in found] for name in found[0]}

    return Dataset.from_dict({"row": range(len(rows))}).with_transform(look_up)


def _open(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    expected = shape[0] * shape[1] * dtype.itemsize
    if (size := path.stat().st_size if path.exists() else 0) != expected:
        raise ValueError(
            f"{path}: {size:,} bytes, but {expected:,} were written; remove the step's data folder "
            "to pack again"
        )
    return np.memmap(path, dtype, mode="r", shape=shape)


@dataclass
class PackedSplit:
    """The packed sources of a training or held-out split, by folder name, and their ledger."""

    sources: dict[str, PackedDataset]
    ledger: Ledger
    one_a_row: str | None = None  # why the model gets one document a row, if it does

    def joined(self) -> Any:
        """All sources, one after the other, for an evaluation."""
        return ConcatDataset(list(self.sources.values()))

    def collator(self, pad_id: int) -> PackedCollator:
        """The collator for these rows; `pad_id` fills shorter ones."""
        return PackedCollator(pad_id, self.one_a_row is not None)

    @property
    def total(self) -> int:
        """Rows of all sources together."""
        return sum(len(rows) for rows in self.sources.values())

    @property
    def stats(self) -> dict[str, int]:
        """Counts of packing (`PackStats`), summed over the sources."""
        keys = ("documents", "tokens", "trained_tokens", "split", "rows", "padding")
        return {k: sum(rows.stats[k] for rows in self.sources.values()) for k in keys}

    @property
    def padding_share(self) -> float:
        """Padding as a share of all tokens of the rows."""
        stats = self.stats
        return stats["padding"] / max(1, stats["tokens"] + stats["padding"])

    @property
    def row_tokens(self) -> float:
        """Mean tokens of a row, without padding."""
        return self.stats["tokens"] / max(1, self.stats["rows"])

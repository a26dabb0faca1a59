"""Pack documents of any length into rows of exactly seq_len tokens: none lost, none mixed.

In order, in windows of documents: put BOS and EOS around each, split what is longer than a row
("split": the chunks are trained as documents of their own), place the longest pieces first into the
row with the least space that still holds them (best-fit decreasing), pad the rest. Within a window
rows and the pieces in them keep the input's order. Labels and positions per piece:

    input_ids     BOS a  b  EOS  BOS c  EOS  PAD   PAD
    labels       -100 a  b  EOS -100 c  EOS -100  -100    (models shift labels themselves)
    position_ids    0 1  2    3    0 1    2    0     0

Positions that restart at 0 keep the pieces apart in attention (eager, sdpa) as long as the batch
has no attention mask: an all-ones mask silently switches that off. So `PackedCollator` returns
none. A padding token has position 0 and is a document of its own. transformers' flash attention
reads the positions only in a batch of one row, and mixes the documents of larger batches. A model
whose documents see each other all the same (modeling/isolation.py) gets one document a row
(`window=1`); its batches end with their longest document, and have a mask instead of positions,
which the model counts in its own way.

Why not trl's packing: it loses tokens (bfd), or mixes documents (wrapped), and its flattened batch
(1, B*L) runs at 0.4 of the speed of (B, L) on CPU. Cost: 5 to 9 million tokens a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
import torch

from hfllm.data.packing.best_fit import WINDOW, best_fit

IGNORED = -100  # the label that the loss leaves out
PackedRow = dict[str, np.ndarray]
Piece = tuple[np.ndarray, np.ndarray]  # ids and labels, (n,) each
Around = tuple[Sequence[int], Sequence[int]]  # ids before and after a document


@dataclass(slots=True)
class Rendered:
    """A conversation as tokens; `trained[i]`: token i is a label."""

    input_ids: list[int]
    trained: list[bool]

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.input_ids)

    def truncate(self, max_tokens: int) -> Rendered:
        """The first `max_tokens` tokens."""
        return Rendered(self.input_ids[:max_tokens], self.trained[:max_tokens])


@dataclass
class PackStats:
    """Counts of packing; tokens + padding = rows x seq_len."""

    documents: int = 0
    tokens: int = 0  # in the rows, BOS and EOS included
    trained_tokens: int = 0  # labels that are not -100
    split: int = 0  # documents longer than a row
    rows: int = 0
    padding: int = 0

    @property
    def padding_share(self) -> float:
        """Padding as a share of all tokens of the rows."""
        return self.padding / max(1, self.tokens + self.padding)

    def to_json(self) -> dict[str, float]:
        """The counts and the padding's share, as in a manifest."""
        return {**asdict(self), "padding_share": round(self.padding_share, 6)}


def pack(
    documents: Iterable[Sequence[int] | Rendered],
    seq_len: int,
    pad_id: int,
    around: Around | None = None,
    stats: PackStats | None = None,
    window: int = WINDOW,
) -> Iterator[PackedRow]:
    """Yield rows {"input_ids", "labels", "position_ids"}, int32, (seq_len,) each.

    Args:
        documents: lists of ids, labelled everywhere but at the first token, or `Rendered`
            conversations, labelled where they are trained.
        seq_len: tokens of a row.
        pad_id: fills the rest of a row.
        around: ids before and after lists of ids (not conversations), mostly bos and eos.
        stats: counts, filled as rows are drawn.
        window: documents that are placed together; 1: one document a row (its chunks, if longer).

    Raises:
        ValueError: seq_len is below 2.
    """
    if seq_len < 2:
        raise ValueError(f"data.seq_len: {seq_len} leaves nothing to predict; use 2 or more")
    stats = PackStats() if stats is None else stats
    stream = iter(documents)
    while chunk := list(islice(stream, window)):
        pieces: list[Piece] = []
        for document in chunk:
            pieces += _pieces(document, seq_len, around, stats)
        for indices in best_fit([len(ids) for ids, _ in pieces], seq_len):
            yield _row([pieces[i] for i in indices], seq_len, pad_id, stats)


def positions_of(starts: np.ndarray) -> np.ndarray:
    """Positions that count from 0 at every start: bool (n,) -> int32 (n,)."""
    index = np.arange(len(starts), dtype=np.int32)
    return index - np.maximum.accumulate(np.where(starts, index, 0))


def _piece(document: Sequence[int] | Rendered, around: Around | None) -> Piece:
    if isinstance(document, Rendered):
        ids = np.asarray(document.input_ids, np.int32)
        return ids, np.where(np.asarray(document.trained, bool), ids, np.int32(IGNORED))
    ids = np.asarray(document, np.int32)
    if around is not None:
        ids = np.concatenate((around[0], ids, around[1])).astype(np.int32)
    return ids, ids.copy()


def _pieces(
    document: Sequence[int] | Rendered,
    seq_len: int,
    around: Around | None,
    stats: PackStats,
) -> list[Piece]:
    ids, labels = _piece(document, around)
    stats.documents += 1
    stats.split += len(ids) > seq_len
    cuts = range(0, len(ids), seq_len)
    return [(ids[a : a + seq_len], labels[a : a + seq_len]) for a in cuts]


def _row(pieces: Sequence[Piece], seq_len: int, pad_id: int, stats: PackStats) -> PackedRow:
    input_ids = np.full(seq_len, pad_id, np.int32)  # (L,)
    labels = np.full(seq_len, IGNORED, np.int32)  # (L,)
    starts = np.ones(seq_len, bool)  # (L,) every padding token is a document of its own
    at = 0
    for ids, piece_labels in pieces:
        end = at + len(ids)
        input_ids[at:end] = ids
        labels[at + 1 : end] = piece_labels[1:]  # nothing predicts the first token of a document
        starts[at + 1 : end] = False
        at = end
    stats.rows += 1
    stats.tokens += at
    stats.padding += seq_len - at
    stats.trained_tokens += int(np.count_nonzero(labels != IGNORED))
    return {"input_ids": input_ids, "labels": labels, "position_ids": positions_of(starts)}


@dataclass
class PackedCollator:
    """Collate rows into long tensors (B, L), without an attention mask (it would undo packing).

    Rows of different lengths (unpacked conversations) are padded on the right to the longest.

    Args:
        pad_id: fills shorter rows.
        one_a_row: the rows hold one document each; an attention mask takes the place of the
            positions, and what follows the last label of all rows is left out.
    """

    pad_id: int
    one_a_row: bool = False

    def __call__(self, rows: Sequence[PackedRow]) -> dict[str, torch.Tensor]:
        """Stack the rows: {"input_ids", "labels", "position_ids"}, (B, L) each."""
        fill = {"input_ids": self.pad_id, "labels": IGNORED, "position_ids": 0}
        if missing := fill.keys() - rows[0].keys():
            raise ValueError(
                f"packed rows reach the collator without {', '.join(sorted(missing))}: set "
                "trainer.remove_unused_columns=false (TRL's SFTTrainer drops position_ids, and "
                "with them what keeps packed documents apart)"
            )
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {}
        for name, value in fill.items():
            out = np.full((len(rows), longest), value, np.int64)  # (B, L)
            for i, row in enumerate(rows):
                out[i, : len(row[name])] = row[name]
            batch[name] = torch.from_numpy(out)
        return _without_positions(batch) if self.one_a_row else batch


def _without_positions(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rows of one document each: a mask instead of positions, and no column that trains nothing.

    The mask ends with each row's last label; nothing depends on what follows it.
    """
    columns = torch.arange(1, batch["labels"].size(1) + 1)
    ends = ((batch["labels"] != IGNORED) * columns).amax(1)  # (B,)
    ends[ends == 0] = 1  # a row without a label: a mask of zeros alone would give NaN
    kept = int(ends.max())
    mask = (columns <= ends[:, None]).long()
    whole = {"input_ids": batch["input_ids"], "labels": batch["labels"], "attention_mask": mask}
    return {name: column[:, :kept] for name, column in whole.items()}

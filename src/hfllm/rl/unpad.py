"""Remove the padding between prompt and answer, and put results back into TRL's padded shape.

GRPO pads prompts on the left and answers on the right, to the longest of each; a row that is long
in both is rare. Unpadded, a row begins in the first column: the batch is as wide as its longest
row, positions are those of training, and the padding on the right needs no attention mask, because
attention is causal:

    TRL's rows      . . p p | a a a .        unpadded   p p a a a
                    p p p p | a . . .                   p p p p a

`HFLLM_SLOW=unpad` (fast_cpu) runs the rows as TRL pads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

Rows = tuple[torch.Tensor, torch.Tensor, int]  # ids and mask (B, P + T), and T: see `unpad`


@dataclass(frozen=True)
class UnpaddedBatch:
    """Unpadded rows, and the columns of their tokens in the padded rows."""

    ids: torch.Tensor  # (B, W), W the tokens of the longest row
    mask: torch.Tensor  # (B, W)
    labels: torch.Tensor  # (B, W): the answers' tokens, -100 elsewhere
    columns: torch.Tensor  # (B, W): each token's column in the padded rows
    prompt: int  # P
    width: int  # P + T

    def repad(self, x: torch.Tensor) -> torch.Tensor:
        """Results of the last K columns, (B, K) -> those of the answers as TRL pads them (B, T)."""
        padded = x.new_zeros((len(x), self.width))
        return padded.scatter(1, self.columns[:, -x.size(1) :], x)[:, self.prompt :]


def unpad(ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> UnpaddedBatch:
    """Move each row's tokens to the first columns.

    Args:
        ids: prompts and answers, (B, P + T), padded on both sides.
        mask: (B, P + T), 0 on padding.
        tokens: T, the number of columns of the answers, which are the last.
    """
    width = ids.size(1)
    longest = int(mask.sum(dim=1).max())
    # A stable sort puts the tokens first and leaves them in their order.
    columns = (mask == 0).int().argsort(dim=1, stable=True)[:, :longest]
    mask, ids = mask.gather(1, columns), ids.gather(1, columns)
    written = (columns >= width - tokens) & (mask > 0)
    labels = ids.masked_fill(~written, -100)
    return UnpaddedBatch(ids, mask, labels, columns, width - tokens, width)


def unpadded_chunks(
    ids: torch.Tensor, mask: torch.Tensor, tokens: int, size: int
) -> Iterator[tuple[torch.Tensor, UnpaddedBatch]]:
    """Yield chunks of rows of similar length: their row numbers (N,), and the unpadded rows.

    Args:
        ids: as in `unpad`.
        mask: as in `unpad`.
        tokens: as in `unpad`.
        size: the most rows of a chunk.
    """
    for rows in mask.sum(dim=1).argsort(stable=True).split(size):
        yield rows, unpad(ids[rows], mask[rows], tokens)


def restore_order(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Join results of chunks, (row numbers (N,), (N, T)) each, in the order of the rows: (B, T)."""
    rows, values = zip(*parts, strict=True)
    return torch.cat(values)[torch.cat(rows).argsort()]


def sort_by_length(micro_batches: list[dict[str, Any]], together: int) -> list[dict[str, Any]]:
    """Sort the rows of each `together` consecutive micro-batches by length, the shortest first."""
    out = []
    for start in range(0, len(micro_batches), together):
        group = micro_batches[start : start + together]
        whole = {key: _joined([part[key] for part in group]) for key in group[0]}
        lengths = whole["prompt_mask"].sum(dim=1) + whole["completion_mask"].sum(dim=1)
        sizes = [len(part["prompt_mask"]) for part in group]
        for numbers in lengths.argsort(stable=True).split(sizes):
            out.append({key: _picked(x, numbers) for key, x in whole.items()})
    return out


def _joined(values: list[Any]) -> Any:
    """Concatenate a column of several micro-batches; a scalar is taken from the first."""
    if isinstance(values[0], list):
        return [row for part in values for row in part]
    is_column = torch.is_tensor(values[0]) and values[0].dim()
    return torch.cat(values) if is_column else values[0]


def _picked(x: Any, numbers: torch.Tensor) -> Any:
    if isinstance(x, list):
        return [x[i] for i in numbers.tolist()]
    return x[numbers] if torch.is_tensor(x) and x.dim() else x

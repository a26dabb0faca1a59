"""Remove the padding between prompt and answer: each row in one piece, and results put back.

GRPO pads prompts on the left and answers on the right, to the longest of each; a row that is long
in both is rare. Written from the first column on, a row is as wide as it is long, its positions
are those of training, and behind a causal mask the padding after it needs no mask at all:

    TRL's rows      . . p p | a a a .        unpadded   p p a a a
                    p p p p | a . . .                   p p p p a

`HFLLM_SLOW=unpad` (fast_cpu) leaves the rows as TRL lays them out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

Rows = tuple[torch.Tensor, torch.Tensor, int]  # ids and mask (B, P + T), and T: see `unpad`


@dataclass(frozen=True)
class UnpaddedBatch:
    """Rows as they are run through a model, and where their tokens stood before."""

    ids: torch.Tensor  # (B, W), W the tokens of the longest row
    mask: torch.Tensor  # (B, W)
    labels: torch.Tensor  # (B, W): the answers' tokens, -100 elsewhere
    columns: torch.Tensor  # (B, W): where each token stood in the padded rows
    prompt: int  # P
    width: int  # P + T

    def repad(self, x: torch.Tensor) -> torch.Tensor:
        """Of the last K columns, (B, K), what belongs to the answers in their places: (B, T)."""
        padded = x.new_zeros((len(x), self.width))
        return padded.scatter(1, self.columns[:, -x.size(1) :], x)[:, self.prompt :]


def unpad(ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> UnpaddedBatch:
    """Lay rows out from the first column on.

    Args:
        ids: prompts and answers, (B, P + T), padded on both sides.
        mask: (B, P + T), 0 on padding.
        tokens: T, the columns at the end that are the answers'.
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
    """Rows of similar length together, `size` at most: their numbers (N,), and the rows.

    The other arguments are those of `unpad`.
    """
    for rows in mask.sum(dim=1).argsort(stable=True).split(size):
        yield rows, unpad(ids[rows], mask[rows], tokens)


def in_order(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """What was computed chunk by chunk, (row numbers, (N, T)) each, in the rows' order: (B, T)."""
    rows, values = zip(*parts, strict=True)
    return torch.cat(values)[torch.cat(rows).argsort()]


def by_length(micro_batches: list[dict[str, Any]], together: int) -> list[dict[str, Any]]:
    """Micro-batches of a rollout; of each `together` that follow, the short rows first."""
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
    """A column of several micro-batches in one; what is no column stays as it is."""
    if isinstance(values[0], list):
        return [row for part in values for row in part]
    is_column = torch.is_tensor(values[0]) and values[0].dim()
    return torch.cat(values) if is_column else values[0]


def _picked(x: Any, numbers: torch.Tensor) -> Any:
    if isinstance(x, list):
        return [x[i] for i in numbers.tolist()]
    return x[numbers] if torch.is_tensor(x) and x.dim() else x

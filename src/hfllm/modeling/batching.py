"""Token rows to be scored, and batches of them: long rows first, so that padding stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_BATCH_TOKENS = 4096  # padding included


@dataclass(frozen=True)
class ScoringRequest:
    """A row of token ids, of which ids[start:] are scored."""

    ids: list[int]
    start: int

    def __post_init__(self) -> None:
        """Something stands before what is scored."""
        assert 0 < self.start < len(self.ids), (self.start, len(self.ids))


def long_first(lengths: Sequence[int], fits: Callable[[list[int]], bool]) -> Iterator[list[int]]:
    """Numbers of rows in batches; one that `fits` refuses with the next row goes out without it.

    The first number of a batch is its longest row; a row that fits nowhere is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    batch: list[int] = []
    for i in order:
        if batch and not fits([*batch, i]):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch

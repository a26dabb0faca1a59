"""Rows of token ids to score, and batches of them: sorted by length, so that padding stays small.

Shared by inference/logits.py (rows) and fast_cpu/shared_context.py (trees).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_BATCH_TOKENS = 4096  # padding included


@dataclass(frozen=True)
class ScoringRequest:
    """A row of token ids; ids[start:] are scored, each given all ids before it."""

    ids: list[int]
    start: int

    def __post_init__(self) -> None:
        """At least one token of context, and one to score."""
        assert 0 < self.start < len(self.ids), (self.start, len(self.ids))


def long_first(lengths: Sequence[int], fits: Callable[[list[int]], bool]) -> Iterator[list[int]]:
    """Yield batches of row indices, longest rows first; each row in exactly one.

    Args:
        lengths: tokens of each row.
        fits: whether these rows may be one batch; the first index is the longest row. A row is
            never split: one that fits nowhere is a batch of its own.
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

"""Rows in batches, long ones first: what is padded to the longest of a batch then fits closely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence


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

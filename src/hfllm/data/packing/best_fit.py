"""Which pieces share a row: best-fit decreasing, within windows of documents. Pure Python."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

WINDOW = 4096  # documents


def best_fit(lengths: Sequence[int], seq_len: int) -> list[list[int]]:
    """Place pieces into rows: indices per row, rows and indices in the input's order."""
    rows: list[list[int]] = []
    spaces: list[tuple[int, int]] = []  # (space left, row), ascending: open rows only
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # stable: ties keep order
        at = bisect_left(spaces, (lengths[i], -1))
        if at == len(spaces):
            rows.append([])
            space, row = seq_len, len(rows) - 1
        else:
            space, row = spaces.pop(at)
        rows[row].append(i)
        if space > lengths[i]:
            insort(spaces, (space - lengths[i], row))
    return sorted(sorted(row) for row in rows)


def packed_rows(lengths: Sequence[int], seq_len: int) -> int:
    """The number of rows that documents of these lengths are packed into; long ones are split."""
    rows = 0
    for start in range(0, len(lengths), WINDOW):
        pieces = []
        for length in lengths[start : start + WINDOW]:
            whole, rest = divmod(length, seq_len)
            rows += whole
            pieces += [rest] if rest else []
        rows += len(best_fit(pieces, seq_len))
    return rows

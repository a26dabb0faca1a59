"""The rows of a parquet file, row group by row group, as a reader of files.py.

After a broken row group it goes on with the next group, after a text that is not UTF-8 with the
next row. Memory: one batch of a row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfllm.data.ledger import Row
from hfllm.recipe.errors import first_line

BATCH_ROWS = 256


def read_parquet(path: Path, bad: Callable[..., None]) -> Iterator[tuple[str, Row]]:
    """Row group by row group; `bad` is told the number of rows that a damaged group held."""
    if path.stat().st_size == 0:
        return
    import pyarrow.parquet as parquet  # 0.1 s: only who reads parquet pays

    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        bad(f"{path}: not a whole parquet file ({first_line(error)}); fetch it again")
        return
    first = 1
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        yield from _read_group(file, group, path, (first, rows), bad)
        first += rows


def _read_group(
    file: Any, group: int, path: Path, span: tuple[int, int], bad: Callable[..., None]
) -> Iterator[tuple[str, Row]]:
    """Rows of one row group; span is (number of its first row, its rows)."""
    first, rows = span
    done = 0
    batches = file.iter_batches(BATCH_ROWS, row_groups=[group])
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            damage = f"rows {first + done:,} to {first + rows - 1:,}"
            bad(f"{path}: {damage} (row group {group}): {first_line(error)}", rows=rows - done)
            return
        if batch is None:
            return
        for row in _batch_rows(batch):
            place = f"{path}: row {first + done:,}"
            done += 1
            if isinstance(row, dict):
                yield place, row
            else:
                bad(f"{place}: {row}")


def _batch_rows(batch: Any) -> list[Row | str]:
    """The rows of an Arrow batch; for a row whose text is not UTF-8, what is wrong with it."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [f"invalid UTF-8 (0x{error.object[error.start]:02x})"]
        return [row for i in range(batch.num_rows) for row in _batch_rows(batch.slice(i, 1))]

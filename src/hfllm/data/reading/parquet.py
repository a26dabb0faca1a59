"""The reader of files.py for parquet: yields rows, one row group after the other.

If `on_damage` counts instead of raising, it continues after a damaged row group with the next
group, and after a text that is not UTF-8 with the next row. Memory: one batch of a row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfllm.recipe.errors import first_line
from hfllm.recipe.paths import shown

BATCH_ROWS = 256


def read_parquet(
    path: Path, on_damage: Callable[..., None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row); `on_damage` gets the number of rows of a damaged group."""
    if path.stat().st_size == 0:
        return
    import pyarrow.parquet as parquet  # 0.1 s, not needed for other files

    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        on_damage(f"{shown(path)}: not a whole parquet file ({first_line(error)}); fetch it again")
        return
    first = 1
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        yield from _read_group(file, group, path, (first, rows), on_damage)
        first += rows


def _read_group(
    file: Any, group: int, path: Path, span: tuple[int, int], on_damage: Callable[..., None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of one row group; `span` is (number of its first row, its rows)."""
    first, rows = span
    done = 0
    batches = file.iter_batches(BATCH_ROWS, row_groups=[group])
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            damage = f"{shown(path)}: rows {first + done:,} to {first + rows - 1:,}"
            on_damage(f"{damage} (row group {group}): {first_line(error)}", rows=rows - done)
            return
        if batch is None:
            return
        for row in _batch_rows(batch):
            place = f"{shown(path)}: row {first + done:,}"
            done += 1
            if isinstance(row, dict):
                yield place, row
            else:
                on_damage(f"{place}: {row}")


def _batch_rows(batch: Any) -> list[dict[str, Any] | str]:
    """The rows of an Arrow batch; instead of a row with text that is not UTF-8, the problem."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [f"invalid UTF-8 (0x{error.object[error.start]:02x})"]
        return [row for i in range(batch.num_rows) for row in _batch_rows(batch.slice(i, 1))]

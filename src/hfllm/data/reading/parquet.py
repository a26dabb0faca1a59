"""The reader of files.py for parquet: yields rows, one row group after the other.

If `on_damage` counts instead of raising, it continues after a damaged row group with the next
group, and after a text that is not UTF-8 with the next row. Memory: one batch of a row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfllm.data.reading.arrow_values import as_json_value, has_odd_values
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
    names = file.schema_arrow.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        on_damage(f"{shown(path)}: two columns are called {twice[0]!r}; rename one")
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
    odd = [field.name for field in file.schema_arrow if has_odd_values(field.type)]
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            damage = f"{shown(path)}: rows {first + done:,} to {first + rows - 1:,}"
            on_damage(f"{damage} (row group {group}): {first_line(error)}", rows=rows - done)
            return
        if batch is None:
            return
        for row in _batch_rows(batch, odd):
            place = f"{shown(path)}: row {first + done:,}"
            done += 1
            if isinstance(row, dict):
                yield place, row
            else:
                on_damage(f"{place}: {row}")


def _batch_rows(batch: Any, odd: list[str]) -> list[dict[str, Any] | str]:
    """The rows of an Arrow batch, the `odd` columns as JSON values; of a broken row the problem."""
    try:
        rows = batch.to_pylist()
        for row in rows if odd else ():
            row |= {name: as_json_value(row[name]) for name in odd}
        return rows
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8 (0x{error.object[error.start]:02x})"
    except (ValueError, OverflowError) as error:  # a date that Python has not
        problem = first_line(error)
    if batch.num_rows == 1:
        return [problem]
    return [row for i in range(batch.num_rows) for row in _batch_rows(batch.slice(i, 1), odd)]

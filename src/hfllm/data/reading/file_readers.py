"""Rows out of files: JSON lines, JSON lists, parquet, and text files (one document each).

Every reader yields (place, row), the place being what an error message names ("web.jsonl:17"),
and tells damage to `bad`, which raises or counts; so a reader goes on where that can be done:
after a broken line with the next line, after a broken parquet row group with the next group.
Lines are read as bytes and decoded one by one, because only then can the message name the byte.
Memory: one line, or one batch of a parquet row group; a JSON list is held whole.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from hfllm.data.errors import Row
from hfllm.recipe.errors import first_line

Located = tuple[str, Row]
Bad = Callable[..., None]  # bad(message, rows=1, bytes=0): raises DataError, or counts

BATCH_ROWS = 256


def suffix(path: Path) -> str:
    """The ending that picks the reader, in lower case: ".jsonl", ".jsonl.gz", ".parquet" ..."""
    ends = [part.lower() for part in path.suffixes[-2:]]
    return "".join(ends) if ends[-1:] == [".gz"] else "".join(ends[-1:])


def read_file(path: Path, bad: Bad) -> Iterator[Located]:
    """Yield (place, row) from one file; an empty file is told to `bad` with rows=0."""
    reader = READERS[suffix(path)]
    empty = True
    for located in reader(path, bad):
        empty = False
        yield located
    if empty and path.stat().st_size == 0:
        bad(f"{path}: the file is empty", rows=0)


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _lines(path: Path, bad: Bad) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, byte offset in the unpacked file, line), blank lines left out."""
    number = offset = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                start, offset = offset, offset + len(line)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, start, line
    except EOFError:
        bad(f"{path}: the gzip file is cut off after line {number:,} (byte {offset:,} unpacked)")
    except (OSError, zlib.error) as error:
        bad(f"{path}: unreadable after line {number:,} (byte {offset:,} unpacked): {error}")


def decode(raw: bytes, start: int = 0) -> str:
    """UTF-8 to str; ValueError names the offending byte, counted from `start`."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{raw[error.start]:02x} at byte {start + error.start:,}"
        raise ValueError(f"invalid UTF-8 ({byte}); convert the file to UTF-8") from None


def _parse(raw: bytes, start: int) -> Any:
    """One JSON value; ValueError says what is wrong and at which byte of the file."""
    text = decode(raw, start)
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # an escaped half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        at = start + len(text[: error.pos].encode())
        cut = "; the line is cut off" if not raw.endswith(b"\n") else ""
        raise ValueError(f"broken JSON at byte {at:,} ({error.msg}{cut})") from None
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate (\\ud800-\\udfff) is no valid text") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _read_json_lines(path: Path, bad: Bad) -> Iterator[Located]:
    for number, start, line in _lines(path, bad):
        place = f"{path}:{number}"
        try:
            row = _parse(line, start)
        except ValueError as error:
            bad(f"{place}: {error}", bytes=len(line))
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            bad(f"{place}: a {type(row).__name__} where an object {{...}} belongs", bytes=len(line))


def _read_json(path: Path, bad: Bad) -> Iterator[Located]:
    """A list of objects; a .json file that holds one object per line is read as JSON lines."""
    first = next(_lines(path, lambda *_, **__: None), None)
    if first is None or not first[2].lstrip().startswith(b"["):
        yield from _read_json_lines(path, bad)
        return
    raw = b""
    try:
        with _open(path) as file:
            raw = file.read()
        rows = _parse(raw.removeprefix(b"\xef\xbb\xbf"), 0)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        bad(f"{path}: {error or 'cut off'}", bytes=len(raw))
        return
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            yield f"{path}: row {number:,}", row
        else:
            bad(f"{path}: row {number:,}: a {type(row).__name__} where an object belongs")


def _read_text(path: Path, bad: Bad) -> Iterator[Located]:
    raw = path.read_bytes()
    if not raw:
        return
    try:
        yield (
            str(path),
            {"id": f"{path.parent.name}/{path.name}", "text": decode(raw).removeprefix("\ufeff")},
        )
    except ValueError as error:
        bad(f"{path}: {error}", bytes=len(raw))


def _read_parquet(path: Path, bad: Bad) -> Iterator[Located]:
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
    file: Any, group: int, path: Path, span: tuple[int, int], bad: Bad
) -> Iterator[Located]:
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


READERS: dict[str, Callable[[Path, Bad], Iterator[Located]]] = {
    ".jsonl": _read_json_lines,
    ".jsonl.gz": _read_json_lines,
    ".json": _read_json,
    ".json.gz": _read_json,
    ".parquet": _read_parquet,
    ".txt": _read_text,
    ".md": _read_text,
}

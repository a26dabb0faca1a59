"""Read the rows of a file: JSON lines, JSON lists, tables, parquet, text, packed or not.

The reader is chosen by the file's ending; it yields (place, row), where the place ("web.jsonl:17")
is for error messages. A text file is one row. Unreadable rows are reported to `on_damage`, which
raises or counts them; if it counts, the reader continues with the next line. Lines are read as
bytes and decoded one by one, so that the message can name the byte. Memory: one line; a JSON list
is held whole.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, cast

from hfllm.data.reading.parquet import read_parquet
from hfllm.recipe.paths import shown

Resolve = Callable[[str], Path]  # name of a step -> its data folder
LocatedRow = tuple[str, dict[str, Any]]
OnDamage = Callable[..., None]  # on_damage(message, rows=1, bytes=0): raises DataError, or counts


def read_file(path: Path, on_damage: OnDamage) -> Generator[LocatedRow, None, bool]:
    """Yield (place, row) from one file; an empty file is reported to `on_damage` with rows=0.

    Returns whether it has neither rows nor damage: a table of a header alone, an empty list.
    """
    reader, empty, damaged = READERS[_kind(path)[0]], True, False

    def report(message: str, **counts: int) -> None:
        nonlocal damaged
        damaged = True
        on_damage(message, **counts)

    for located in reader(path, report):
        empty = False
        yield located
    if empty and path.stat().st_size == 0:
        report(f"{shown(path)}: the file is empty; remove it, or change the path", rows=0)
    return empty and not damaged


def is_readable(path: Path) -> bool:
    """Whether there is a reader for the file's ending."""
    kind, packed = _kind(path)
    return kind in READERS and not (packed and kind not in PACKABLE)


def _kind(path: Path) -> tuple[str, str]:
    """The ending in lower case, the key of READERS, and how the file is packed: ".gz" or ""."""
    ends = [part.lower() for part in path.suffixes[-2:]]
    packed = ends.pop() if ends and ends[-1] in OPENERS else ""
    return (ends[-1] if ends else ""), packed


def _open_zst(path: Path) -> IO[bytes]:
    import pyarrow  # Python has no reader for it before 3.14

    return cast(IO[bytes], io.BufferedReader(pyarrow.input_stream(path, compression="zstd")))


OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zst,
}
CUT_OFF = (OSError, EOFError, zlib.error, lzma.LZMAError)


def _open(path: Path) -> IO[bytes]:
    opener = OPENERS.get(path.suffix.lower())
    return cast(IO[bytes], opener(path)) if opener else path.open("rb")


def _lines(path: Path, on_damage: OnDamage) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, byte offset in the unpacked file, line), without blank lines."""
    number = offset = 0
    place = shown(path)
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                start, offset = offset, offset + len(line)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, start, line
    except CUT_OFF as error:
        at = f"after line {number:,} (byte {offset:,} unpacked)"
        cut = isinstance(error, EOFError) or "runcated" in str(error)
        what = f"cut off {at}; fetch it again" if cut else f"unreadable {at}: {error}"
        on_damage(f"{place}: the file is {what}")


def _decode(raw: bytes, start: int = 0) -> str:
    """Decode UTF-8; ValueError names the invalid byte, counted from `start`."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{raw[error.start]:02x} at byte {start + error.start:,}"
        raise ValueError(f"invalid UTF-8 ({byte}); convert the file to UTF-8") from None


def _parse(raw: bytes, start: int) -> Any:
    """Parse one JSON value; ValueError says what is wrong, at which byte of the file."""
    text = _decode(raw, start)
    try:
        value = _JSON.decode(text)
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


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of an object; ValueError for a key that stands twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object; remove one")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_each_key_once)  # json.loads would make one a row


def _read_json_lines(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    for number, start, line in _lines(path, on_damage):
        place = f"{shown(path)}:{number}"
        try:
            row = _parse(line, start)
        except ValueError as error:
            on_damage(f"{place}: {error}", bytes=len(line))
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            what = f"{place}: a {type(row).__name__} where an object {{...}} belongs"
            hint = " (a file that is one JSON list is called .json)" if number == 1 else ""
            on_damage(what + hint, bytes=len(line))


def _read_json(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    """Rows of a JSON list of objects; a .json file with an object per line is read as lines."""
    first = next(_lines(path, lambda *_, **__: None), None)
    if first is None or not first[2].lstrip().startswith(b"["):
        yield from _read_json_lines(path, on_damage)
        return
    raw, place = b"", shown(path)
    try:
        with _open(path) as file:
            raw = file.read()
        rows = _parse(raw.removeprefix(b"\xef\xbb\xbf"), 0)
    except (ValueError, *CUT_OFF) as error:
        on_damage(f"{place}: {error or 'cut off'}", bytes=len(raw))
        return
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            yield f"{place}: row {number:,}", row
        else:
            what = f"a {type(row).__name__} where an object {{...}} belongs"
            on_damage(f"{place}: row {number:,}: {what}")


def _read_csv(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    """Rows of a table with a header; every value is text. The separator of .tsv is a tab."""
    place, kind = shown(path), _kind(path)[0]
    csv.field_size_limit(2**31 - 1)
    table = csv.reader(
        _text_lines(path, on_damage), delimiter="\t" if kind == ".tsv" else ",", strict=True
    )
    header: list[str] | None = None
    while True:
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            on_damage(f"{place}:{table.line_num}: broken table ({error})")
            continue
        if header is None:
            header = cells
            if len(set(header)) < len(header):
                on_damage(f"{place}: two columns of the header have one name: {', '.join(header)}")
                return
        elif len(cells) == len(header):
            yield f"{place}:{table.line_num}", dict(zip(header, cells, strict=True))
        elif cells:
            what = f"{len(cells)} cells, but the header has {len(header)}"
            on_damage(f"{place}:{table.line_num}: {what}")


def _text_lines(path: Path, on_damage: OnDamage) -> Iterator[str]:
    """The lines of a file as text, with their ends; one that is no UTF-8 is left out."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield _decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                except ValueError as error:
                    on_damage(f"{shown(path)}:{number}: {error}", bytes=len(line))
    except CUT_OFF as error:
        on_damage(f"{shown(path)}: unreadable or cut off after line {number:,}: {error}")


def _read_text(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    raw, place = b"", shown(path)
    try:
        with _open(path) as file:
            raw = file.read()
        text = _decode(raw).removeprefix("\ufeff")
    except (ValueError, *CUT_OFF) as error:
        on_damage(f"{place}: {error or 'cut off'}", bytes=len(raw))
        return
    if raw:
        yield place, {"id": shown(f"{path.parent.name}/{path.name}"), "text": text}


READERS: dict[str, Callable[[Path, OnDamage], Iterator[LocatedRow]]] = {
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_text,
    ".md": _read_text,
    ".parquet": read_parquet,
}
PACKABLE = tuple(ending for ending in READERS if ending != ".parquet")
READABLE = f"(readable: {' '.join(READERS)}; all but parquet also as {' '.join(OPENERS)})"

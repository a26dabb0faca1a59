"""Find a source's files and read their rows: JSON lines, JSON lists, parquet, text.

In order: find the files of a `path` or `step` (if there is none, the error suggests a similar
name); choose a reader by each file's ending; yield (place, row), where the place ("web.jsonl:17")
is for error messages. A text file is one row. Unreadable rows are reported to `on_damage`, which
raises or counts them; if it counts, the reader continues with the next line. Lines are read as
bytes and decoded one by one, so that the message can name the byte. Memory: one line; a JSON list
is held whole.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from hfllm.data.ledger import DataError
from hfllm.data.reading.parquet import read_parquet
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.did_you_mean import first_missing, near_path
from hfllm.recipe.model_names import how_to_get

Resolve = Callable[[str], Path]  # name of a step -> its data folder
LocatedRow = tuple[str, dict[str, Any]]
OnDamage = Callable[..., None]  # on_damage(message, rows=1, bytes=0): raises DataError, or counts


def find_files(source: SourceConfig, resolve: Resolve) -> list[Path]:
    """The files of a `path` or `step` source, sorted; DataError if there is none."""
    if source.step:
        folder = resolve(source.step)
        if not folder.is_dir():
            raise DataError(
                f"step {source.step!r} has written nothing yet (no folder {folder}); run it first"
            )
        return _expand(str(folder / (source.file or _default_file(source.step, folder))))
    if not source.path:
        raise DataError("the source sets none of `step`, `path` and `hub`")
    return _expand(os.path.expanduser(source.path))


def _default_file(step: str, folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if _suffix(p) in READERS)
    if "kept.jsonl" in names:
        return "kept.jsonl"
    if len(names) != 1:
        there = ", ".join(names) or "it has none"
        raise DataError(f"set `file:` to say which file of step {step!r} to read: {there}")
    return names[0]


def _expand(pattern: str) -> list[Path]:
    """A file, the readable files in a folder and its subfolders, or the matches of a glob."""
    path, readable = Path(pattern), f"(readable: {' '.join(READERS)})"
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if _suffix(p) in READERS and p.is_file())
        if not found:
            raise DataError(f"no readable file in {pattern} {readable}")
        return found
    found = [path] if path.exists() else sorted(map(Path, glob.glob(pattern, recursive=True)))
    if not found:
        raise DataError(f"no file {pattern}{_hint(path)}")
    for each in found:
        if _suffix(each) not in READERS:
            ending = each.suffix or "a file without ending"
            raise DataError(f"{each}: cannot read {ending} {readable}; convert it")
    return found


def _hint(path: Path) -> str:
    """The end of the message for a missing path: a similar name that exists, else what to do."""
    if near := near_path(path):
        return f"; did you mean {near}?"
    wrong = first_missing(path)
    if wrong == path:
        return f"; it is not in {path.parent}, change the path"
    if made := how_to_get(path):
        return made
    return f"; there is no folder {wrong}: get the data (README.md, Data) or change the path"


def read_file(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    """Yield (place, row) from one file; an empty file is reported to `on_damage` with rows=0."""
    reader = READERS[_suffix(path)]
    empty = True
    for located in reader(path, on_damage):
        empty = False
        yield located
    if empty and path.stat().st_size == 0:
        on_damage(f"{path}: the file is empty", rows=0)


def _suffix(path: Path) -> str:
    """The ending in lower case, the key of READERS: ".jsonl", ".jsonl.gz", ".parquet" ..."""
    ends = [part.lower() for part in path.suffixes[-2:]]
    return "".join(ends) if ends[-1:] == [".gz"] else "".join(ends[-1:])


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _lines(path: Path, on_damage: OnDamage) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, byte offset in the unpacked file, line), without blank lines."""
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
        on_damage(
            f"{path}: the gzip file is cut off after line {number:,} (byte {offset:,} unpacked)"
        )
    except (OSError, zlib.error) as error:
        on_damage(f"{path}: unreadable after line {number:,} (byte {offset:,} unpacked): {error}")


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


def _read_json_lines(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    for number, start, line in _lines(path, on_damage):
        place = f"{path}:{number}"
        try:
            row = _parse(line, start)
        except ValueError as error:
            on_damage(f"{place}: {error}", bytes=len(line))
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            on_damage(
                f"{place}: a {type(row).__name__} where an object {{...}} belongs", bytes=len(line)
            )


def _read_json(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    """Rows of a JSON list of objects; a .json file with an object per line is read as lines."""
    first = next(_lines(path, lambda *_, **__: None), None)
    if first is None or not first[2].lstrip().startswith(b"["):
        yield from _read_json_lines(path, on_damage)
        return
    raw = b""
    try:
        with _open(path) as file:
            raw = file.read()
        rows = _parse(raw.removeprefix(b"\xef\xbb\xbf"), 0)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        on_damage(f"{path}: {error or 'cut off'}", bytes=len(raw))
        return
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            yield f"{path}: row {number:,}", row
        else:
            on_damage(f"{path}: row {number:,}: a {type(row).__name__} where an object belongs")


def _read_text(path: Path, on_damage: OnDamage) -> Iterator[LocatedRow]:
    raw = path.read_bytes()
    if not raw:
        return
    try:
        text = _decode(raw).removeprefix("\ufeff")
    except ValueError as error:
        on_damage(f"{path}: {error}", bytes=len(raw))
        return
    yield str(path), {"id": f"{path.parent.name}/{path.name}", "text": text}


READERS: dict[str, Callable[[Path, OnDamage], Iterator[LocatedRow]]] = {
    ".jsonl": _read_json_lines,
    ".jsonl.gz": _read_json_lines,
    ".json": _read_json,
    ".json.gz": _read_json,
    ".parquet": read_parquet,
    ".txt": _read_text,
    ".md": _read_text,
}

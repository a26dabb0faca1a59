"""How many rows and tokens the sources of a step give: counted, estimated, or unknown.

Small sources are read whole with the readers that the step will use, and counted. Of larger ones
the first SAMPLE bytes of text are read; rows are then the file's lines (or parquet's own count)
times the share of rows that were selected, tokens those rows times the tokens of the rows read.
What cannot be read before the run (the hub, a step that has not run) is unknown, and said so.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.data.example import DataError, Example
from hfllm.data.ledger import Ledger
from hfllm.data.packing.best_fit import packed_rows
from hfllm.data.reading.examples import label
from hfllm.data.reading.files import OPENERS
from hfllm.data.reading.find import find_files
from hfllm.data.reading.first_examples import KINDS
from hfllm.data.reading.first_rows import why_unread
from hfllm.planning.text_tokens import TokenCounter
from hfllm.recipe.config import (
    ChatDataConfig,
    LabelledDataConfig,
    PairDataConfig,
    PromptDataConfig,
    SourceConfig,
)
from hfllm.runs.layout import Step

SAMPLE = 1_000_000  # bytes of text that are read of a source
COUNTED = 64 * 2**20  # bytes of a packed file that is unpacked to count its lines
LINES = (".jsonl", ".ndjson", ".json")
PACKED_RATIO = 3.0  # bytes of text in a byte of a packed file, where it is not unpacked


@dataclass(frozen=True)
class Amount:
    """Examples and tokens of sources that were read, and how they are known; None: unknown.

    packed: rows that the examples are packed into. longest: tokens of the longest example that was
    read. missing: what is not in these sums, one line a
    source.
    """

    rows: float | None
    tokens: float | None
    packed: float | None
    how: str
    missing: tuple[str, ...] = ()
    longest: float = 0

    @property
    def is_whole(self) -> bool:
        """Whether every source is in the sums."""
        return self.rows is not None and not self.missing


@dataclass(frozen=True)
class _Source:
    rows: float
    tokens: float
    packed: float
    longest: int
    counted: bool


def kind_of(data: Any) -> str:
    """The kind of examples that a section `data:` reads, from its class."""
    kinds = {
        ChatDataConfig: "chats",
        PairDataConfig: "pairs",
        LabelledDataConfig: "labelled",
        PromptDataConfig: "prompts",
    }
    return next((kind for cls, kind in kinds.items() if isinstance(data, cls)), "texts")


def amount(step: Step, sources: list[SourceConfig], kind: str, most: int) -> Amount:
    """Rows and tokens of sources.

    Args:
        step: whose sources they are; gives the tokenizer and the folders of other steps.
        sources: of examples of this kind.
        kind: texts, chats, pairs, labelled or prompts.
        most: tokens of a row: longer documents are split, longer chats cut, longer pairs and
            prompts dropped.
    """
    counter = TokenCounter(step)
    found: list[_Source] = []
    missing = []
    for source in sources:
        if why := why_unread(step, source):
            missing.append(f"{label(source)}: {why}")
            continue
        try:
            found.append(_measure(step, source, kind, _tokens_of(counter, kind, most), most))
        except (DataError, OSError) as error:  # said by the checks before a run
            missing.append(f"{label(source)}: {error}")
    if not found:
        return Amount(None, None, None, "unknown", tuple(missing))
    how = "counted" if all(one.counted for one in found) and counter.exact else "estimated"
    if how == "estimated":
        parts = [] if all(one.counted for one in found) else ["from the first rows and the size"]
        how += f" ({', '.join([*parts, counter.how] if counter.how else parts)})"
    rows, tokens = sum(one.rows for one in found), sum(one.tokens for one in found)
    packed, longest = sum(one.packed for one in found), max(one.longest for one in found)
    return Amount(rows, tokens, packed, how, tuple(missing), longest)


def _tokens_of(counter: TokenCounter, kind: str, most: int) -> Callable[[Example], list[float]]:
    """Tokens of each row that an example becomes in training; none: it is dropped as too long."""

    def pair(row: Example) -> list[float]:
        sides = counter.sides(row)
        return [] if max(sides) > most else [sum(sides)]

    functions: dict[str, Callable[[Example], list[float]]] = {
        "texts": lambda row: [counter.document(row)],
        "chats": lambda row: [min(counter.chat(row), most)],
        "pairs": pair,
        "labelled": lambda row: [n for n in counter.sides(row) if n <= most],
        "prompts": lambda row: [n for n in [counter.prompt(row)] if n <= most],
    }
    return functions[kind]


def _measure(
    step: Step,
    source: SourceConfig,
    kind: str,
    tokens_of: Callable[[Example], list[float]],
    seq_len: int,
) -> _Source:
    """Read the beginning of a source, and scale it to the whole."""
    read, size, place, whole = 0, 0, "", True
    lengths: list[int] = []
    skipping = dataclasses.replace(source, on_error="skip")
    for row in KINDS[kind]([skipping], step.data_of, Ledger()):
        read, size, place = read + 1, size + row.bytes, row.place
        lengths += [round(n) for n in tokens_of(row)]
        if size > SAMPLE:
            whole = False
            break
    scale = 1.0 if whole or not read else _scale(step, source, place, read, size)
    packs = kind in ("texts", "chats")  # a pair and a prompt are a row each
    packed = packed_rows(lengths, seq_len) if packs else len(lengths)
    sums = (len(lengths) * scale, sum(lengths) * scale, packed * scale)
    return _Source(*sums, max(lengths, default=0), counted=whole)


def _scale(step: Step, source: SourceConfig, place: str, read: int, size: int) -> float:
    """The examples of a source, in those read so far: up to this place, of so many bytes."""
    files = find_files(source, step.data_of)
    consumed = _rows_up_to(files, place)
    total = _count_rows(files) if consumed else None
    by_bytes = sum(map(_text_bytes, files)) / size  # of text files, lists, tables
    scale = total / consumed if total else by_bytes
    return min(scale, source.limit / read) if source.limit else scale


def _rows_up_to(files: list[Path], place: str) -> float:
    """Rows of the files up to a place ("web.jsonl:17", "web.parquet: row 17")."""
    found = re.search(r":(?: row )?([\d,]+)$", place)
    name = place[: found.start()] if found else ""
    here = next((i for i, file in enumerate(files) if str(file).endswith(name) and name), None)
    if found is None or here is None:
        return 0
    before = [_count_rows([file]) for file in files[:here]]
    return (
        0
        if any(n is None for n in before)
        else sum(n or 0 for n in before) + int(found[1].replace(",", ""))
    )


def _count_rows(files: list[Path]) -> float | None:
    """Rows of files of lines and of parquet; None where one is of another kind."""
    total = 0.0
    for file in files:
        kind = [part.lower() for part in file.suffixes if part.lower() not in OPENERS]
        if kind and kind[-1] == ".parquet":
            import pyarrow.parquet as parquet

            total += parquet.read_metadata(file).num_rows
        elif kind and kind[-1] in LINES[:2]:
            total += _lines(file)
        else:
            return None
    return total


def _lines(file: Path) -> float:
    """Lines of a file, packed or not; of a large one from the length of its first lines."""
    size = file.stat().st_size
    opener: Any = OPENERS.get(file.suffix.lower())
    if size <= COUNTED:
        with opener(file) if opener else file.open("rb") as stream:
            return sum(block.count(b"\n") for block in _blocks(stream))
    with opener(file) if opener else file.open("rb") as stream:
        first = stream.read(4 * 2**20)
    lines = max(1, first.count(b"\n"))
    return lines * size * (PACKED_RATIO if opener else 1.0) / len(first)


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(2**20):
        yield block


def _text_bytes(file: Path) -> float:
    packed = file.suffix.lower() in OPENERS
    return file.stat().st_size * (PACKED_RATIO if packed else 1.0)

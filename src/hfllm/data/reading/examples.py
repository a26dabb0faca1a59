"""Read and adapt at once: documents, chats, pairs and prompts out of a list of sources.

Sources are read one after the other, in the order given. Ledger, in documents and UTF-8 bytes:
every row is counted "in"; what is left out here is counted "dropped:REASON". **Who consumes the
rows adds "kept"** (`count_kept`) or its own drops and changes for each row it was given, and all
tokens, "in" included: only it knows them. `row["source"]` is the label that "in" was counted under.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hfllm.data.curation.decontaminate import TestIndex
from hfllm.data.errors import REMEDY, DataError, Drop, Row, row_bytes
from hfllm.data.ledger import Ledger
from hfllm.data.reading.files import Resolve
from hfllm.data.reading.formats import as_chat, as_document, as_pair, as_prompt
from hfllm.data.reading.sources import count_out, read_located
from hfllm.recipe.config import SourceConfig

OnDrop = Callable[[Row, str], None]
Adapter = Callable[[Row, str | None], Row | Drop]


def read_documents(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None = None,
    on_drop: OnDrop | None = None,
) -> Iterator[Row]:
    """Yield documents ({"id", "source", "text" or "html", ...}); DataError on a malformed row.

    on_drop(row, reason) is told of every row that is left out for what it says.
    """
    return _read(sources, resolve, ledger, as_document, on_drop)


def read_texts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Row]:
    """Yield documents that have a `text`; DataError on one that is still HTML."""
    for row in read_documents(sources, resolve, ledger):
        if "text" not in row:
            where = f"source {row['source']!r}, row {row['id']}"
            raise DataError(f"{where}: has `html` and no `text`: run it through `curate` first")
        yield row


def read_chats(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None = None,
    tests: TestIndex | None = None,
) -> Iterator[Row]:
    """Yield conversations ({"id", "source", "messages", ...}); DataError on a malformed row.

    A conversation of which a message holds one of the `tests` is left out.
    """
    for row in _read(sources, resolve, ledger, as_chat):
        if tests and any(tests.find_text(message["content"]) for message in row["messages"]):
            if ledger is not None:
                size = row_bytes(row)
                ledger.add(row["source"], "dropped:contamination", documents=1, bytes=size)
            continue
        yield row


def read_pairs(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Row]:
    """Yield preferences ({"prompt", "chosen", "rejected", ...}); DataError on a malformed row."""
    return _read(sources, resolve, ledger, as_pair)


def read_prompts(
    sources: list[SourceConfig], resolve: Resolve, ledger: Ledger | None = None
) -> Iterator[Row]:
    """Yield prompts ({"prompt", ...} and the columns for rewards); DataError on a malformed row."""
    return _read(sources, resolve, ledger, as_prompt)


def count_kept(ledger: Ledger, row: Row, tokens: int = 0) -> None:
    """Count a row that these functions yielded, unchanged since, as kept (tokens in and kept)."""
    ledger.add(row["source"], "in", tokens=tokens)
    ledger.add(row["source"], "kept", documents=1, tokens=tokens, bytes=row_bytes(row))


def _read(
    sources: list[SourceConfig],
    resolve: Resolve,
    ledger: Ledger | None,
    adapt: Adapter,
    on_drop: OnDrop | None = None,
) -> Iterator[Row]:
    for source in sources:
        for place, row in read_located(source, resolve, ledger):
            try:
                out = adapt(row, source.format)
            except DataError as error:
                if source.on_error != "skip":
                    raise DataError(f"{place}: {error}; {REMEDY}", error.reason) from None
                out = Drop(error.reason)
            if isinstance(out, Drop):
                count_out(ledger, row["source"], out.reason, row_bytes(row))
                if on_drop:
                    on_drop(row, out.reason)
                continue
            if ledger is not None:
                ledger.add(out["source"], "in", documents=1, bytes=row_bytes(out))
            yield out

"""Read the first examples of a source, as a step would, to find wrong rows before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice

from hfllm.data.ledger import DataError, Example, Ledger
from hfllm.data.reading.examples import (
    label,
    read_chats,
    read_documents,
    read_labelled,
    read_pairs,
    read_prompts,
    read_rows,
    read_texts,
)
from hfllm.data.reading.files import Resolve
from hfllm.recipe.config import SourceConfig

TRIED = 100  # selected rows that are read at most
Read = Callable[[list[SourceConfig], Resolve, Ledger], Iterator[Example]]
KINDS: dict[str, Read] = {
    "documents": read_documents,
    "texts": read_texts,
    "chats": read_chats,
    "pairs": read_pairs,
    "labelled": read_labelled,
    "prompts": read_prompts,
    "rows": lambda sources, resolve, ledger: read_rows(sources[0], resolve, ledger),
}


def first_examples(source: SourceConfig, kind: str, n: int, resolve: Resolve) -> list[Example]:
    """The first `n` examples of a source, read by the reader of its kind.

    Cost: `TRIED` selected rows at most; a `where` that selects nothing reads all files.

    Args:
        source: of which files or hub data set.
        kind: one of KINDS: "texts" are documents that must not be HTML, "rows" are not converted.
        n: examples at most, of each the reader's own conversion.
        resolve: name of a step -> its data folder.

    Raises:
        DataError: what the reader raises (a row that is not of this kind, a file that is not
            there), or none of the rows tried gives an example.
    """
    ledger = Ledger()
    tried = dataclasses.replace(source, limit=min(source.limit or TRIED, TRIED))
    found = list(islice(KINDS[kind]([tried], resolve, ledger), n))
    if not found:
        name = label(source)
        reasons = "; ".join(
            f"{reason} {count:,} (first {ledger.first[name, reason] or 'of the file'})"
            for reason, count in ledger.reasons().items()
        )
        raise DataError(
            f"source {name!r}: its first rows give no {kind}; "
            f"left out by reason: {reasons or 'there are no rows'}"
        )
    return found

"""Read the rows of a test: each kind by the reader of its rows, or in one of its shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from hfllm.data.ledger import Example, Ledger
from hfllm.data.reading.account import account
from hfllm.data.reading.examples import read_as, read_pairs, read_texts
from hfllm.data.reading.files import Resolve
from hfllm.evaluation.columns_read import columns_read_of
from hfllm.evaluation.shapes import as_reply, as_test_row
from hfllm.recipe.config import SourceConfig

Read = Callable[[list[SourceConfig], Resolve, Ledger], Iterator[Example]]
READERS: dict[str, Read] = {
    "bits_per_byte": read_texts,
    "preference": read_pairs,
    "replies": partial(read_as, as_reply, reads=partial(columns_read_of, kind="replies")),
}


def read_test(source: SourceConfig, kind: str, resolve: Resolve, ledger: Ledger) -> list[Example]:
    """The rows of a test, in the form that its task reads.

    What is left out or not read is printed; more than half of the source stops it.

    Args:
        source: of the rows.
        kind: one of config.TASK_KINDS.
        resolve: name of a step -> its data folder.
        ledger: counts the rows that are left out, and those that are kept.

    Raises:
        ValueError: a row of no shape of this kind, or with a value of another type.
    """
    read = READERS.get(kind) or partial(
        read_as,
        lambda row, format: as_test_row(row, kind),
        reads=partial(columns_read_of, kind=kind),
    )
    rows = list(read([source], resolve, ledger))
    for row in rows:
        ledger.keep(row)
    account(ledger, [source])
    return rows

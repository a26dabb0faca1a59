"""`Document`, the argument of a curation block, and `Block`, the signature of one.

A block takes one document and returns `Drop(reason, detail)`, `Change(text, reason)`, or None to
leave it as it is. State about earlier documents (duplicate indices) is the block's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hfllm.data.curation.words import split_words, word_ids
from hfllm.data.ledger import Drop, Example


class Document:
    """An example and its current text (of a web page: HTML until the text is extracted)."""

    def __init__(self, example: Example) -> None:
        """Start from the text or HTML of an example of `read_documents`."""
        self.example = example
        self.text: str = example["text"] if "text" in example else example["html"]

    @property
    def source(self) -> str:
        """Label of the source that it was read from."""
        return self.example.source

    @property
    def number(self) -> int | None:
        """Which example of the run it is."""
        return self.example.number

    @property
    def place(self) -> str:
        """File and row."""
        return self.example.place

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the current text."""
        return len(self.text.encode())

    @property
    def name(self) -> str:
        """SOURCE/ID, which identifies the document."""
        return f"{self.source}/{self.example['id']}"

    @cached_property
    def words(self) -> list[str]:
        """Lower-case words of the current text."""
        return split_words(self.text)

    @cached_property
    def ids(self) -> np.ndarray:
        """Hashed words  # (W,) uint64."""
        return word_ids(self.words)

    def rewrite(self, text: str) -> int:
        """Replace the text; return the bytes removed (negative if it grew)."""
        before, self.text = self.bytes, text
        for cached in ("words", "ids"):
            self.__dict__.pop(cached, None)
        return before - self.bytes


@dataclass(frozen=True)
class Change:
    """The new text of a document that is kept, and the one-word reason for the ledger."""

    text: str
    reason: str


Block = Callable[[Document], Drop | Change | None]

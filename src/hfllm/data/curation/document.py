"""A document on its way through curation, and what a block may say of it.

A block looks at one document and returns `Drop(reason, detail)`, `Change(text, reason)`, or None:
nothing to say. What it remembers of earlier documents (duplicate indices) it keeps itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hfllm.data.curation.words import split_words, word_ids
from hfllm.data.ledger import Drop, Example


class Document:
    """An example, and its text as it now stands (a page's HTML until that is extracted)."""

    def __init__(self, example: Example) -> None:
        """Take the text of a document that `read_documents` yielded."""
        self.example = example
        self.text: str = example["text"] if "text" in example else example["html"]

    @property
    def source(self) -> str:
        """The label of the source that it was read from."""
        return self.example.source

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text as it now stands."""
        return len(self.text.encode())

    @property
    def name(self) -> str:
        """The key of a document, as one string."""
        return f"{self.source}/{self.example['id']}"

    @cached_property
    def words(self) -> list[str]:
        """Lower-case words of the text as it now stands."""
        return split_words(self.text)

    @cached_property
    def ids(self) -> np.ndarray:
        """Hashed words  # (W,) uint64."""
        return word_ids(self.words)

    def rewrite(self, text: str) -> int:
        """Replace the text; returns the bytes that are gone (below 0 where it grew)."""
        before, self.text = self.bytes, text
        for cached in ("words", "ids"):
            self.__dict__.pop(cached, None)
        return before - self.bytes


@dataclass(frozen=True)
class Change:
    """Another text for a document that stays, and the one-word reason that the ledger counts."""

    text: str
    reason: str


Block = Callable[[Document], Drop | Change | None]

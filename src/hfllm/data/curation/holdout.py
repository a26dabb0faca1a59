"""Hold documents out by a hash of their key: who is held out does not hang on the others."""

from __future__ import annotations

from hfllm.data.curation.document import Document
from hfllm.data.curation.words import hash64
from hfllm.data.ledger import Drop

HELDOUT = "heldout"


class Holdout:
    """The block: a share of the documents, or of the titles ("author/title#chapter"), goes."""

    def __init__(self, share: float, by_title: bool) -> None:
        """Share in [0, 1)."""
        self.limit, self.by_title = share * 2**64, by_title

    def __call__(self, document: Document) -> Drop | None:
        """Drop(HELDOUT) or nothing."""
        key = document.name.split("#")[0] if self.by_title else document.name
        return Drop(HELDOUT) if hash64(f"holdout {key}") < self.limit else None

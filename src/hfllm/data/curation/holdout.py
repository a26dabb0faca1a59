"""Hold out a share of the documents, chosen by a hash of each name, not by the other documents."""

from __future__ import annotations

from hfllm.data.curation.document import Document
from hfllm.data.curation.words import hash64
from hfllm.data.ledger import Drop

HELDOUT = "heldout"


class Holdout:
    """The block: hold out a share of the documents, or of the titles ("author/title#chapter")."""

    def __init__(self, share: float, by_title: bool) -> None:
        """Hold out `share` in [0, 1); with `by_title`, all chapters of a title together."""
        self.limit, self.by_title = share * 2**64, by_title

    def __call__(self, document: Document) -> Drop | None:
        """Drop(HELDOUT), or None."""
        key = document.name.split("#")[0] if self.by_title else document.name
        return Drop(HELDOUT) if hash64(f"holdout {key}") < self.limit else None

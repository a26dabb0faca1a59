"""The steps of curation, each of which looks at one draft: changes its text, or says why it goes.

A step is a closure over what it remembers (duplicate indices, tests). The order of the list is the
order of the work; curate.py says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hfllm.data.curation.config import CurateConfig
from hfllm.data.curation.decontaminate import read_tests
from hfllm.data.curation.dedup import ExactIndex, NearIndex
from hfllm.data.curation.extract import extract_text
from hfllm.data.curation.filters import check_quality
from hfllm.data.curation.language import unknown_languages
from hfllm.data.curation.pii import replace_pii
from hfllm.data.curation.words import hash64, split_words, word_ids
from hfllm.data.errors import Row
from hfllm.data.ledger import Ledger
from hfllm.data.reading.files import Resolve

HELDOUT = "heldout"


@dataclass
class Draft:
    """A document on its way: its row, its text as it now stands, and why it was dropped."""

    row: Row
    text: str
    reason: str | None = None
    detail: str | None = None  # the document it copies, the test it holds
    counted: bool = False  # whether the ledger has it already

    @cached_property
    def words(self) -> list[str]:
        """Lower-case words; asked for only once the text no longer changes, but for PII."""
        return split_words(self.text)

    @cached_property
    def ids(self) -> np.ndarray:
        """Hashed words  # (W,) uint64."""
        return word_ids(self.words)

    @property
    def name(self) -> str:
        """The key of a document, as one string."""
        return f"{self.row['source']}/{self.row['id']}"


Step = Callable[[Draft, Ledger], None]  # changes the draft's text, or sets its reason


def build_steps(config: CurateConfig, resolve: Resolve, replaced: Counter[str]) -> list[Step]:
    """The steps that the config asks for, in their order."""
    steps: list[Step] = [_extract]
    if config.filters:
        steps.append(_quality(config))
    if config.decontaminate:
        steps.append(_decontaminate(config, resolve))
    if config.dedup and config.dedup.exact:
        steps.append(_exact())
    if config.dedup and config.dedup.near:
        steps.append(_near(config))
    if config.pii:
        steps.append(_pii(replaced))
    if config.holdout > 0:
        steps.append(_holdout(config))
    return steps


def _change(draft: Draft, text: str, before: str, bucket: str, ledger: Ledger) -> None:
    bytes = len(before.encode()) - len(text.encode())
    if bytes:
        ledger.add(draft.row["source"], f"changed:{bucket}", bytes=bytes)
    draft.text = text


def _extract(draft: Draft, ledger: Ledger) -> None:
    if "html" not in draft.row:
        return
    text = extract_text(draft.row["html"])
    if text:
        _change(draft, text, draft.row["html"], "boilerplate", ledger)
    else:
        draft.text, draft.reason = draft.row["html"], "no_text"


def _quality(config: CurateConfig) -> Step:
    filters = config.filters
    assert filters is not None
    unknown = unknown_languages(filters.languages or [])
    if unknown:
        raise ValueError(f"filters.languages: no language {unknown[0]!r}; use ISO codes such as en")
    exempt = {source: frozenset(reasons) for source, reasons in filters.exempt.items()}

    def step(draft: Draft, ledger: Ledger) -> None:
        spared = exempt.get(draft.row["source"], frozenset())
        draft.reason = check_quality(draft.text, draft.words, draft.ids, filters, spared)

    return step


def _decontaminate(config: CurateConfig, resolve: Resolve) -> Step:
    index = read_tests(config.decontaminate, resolve, config.decontaminate_ngram)
    assert index is not None

    def step(draft: Draft, ledger: Ledger) -> None:
        draft.detail = index.find(draft.ids)
        draft.reason = "contamination" if draft.detail else None

    return step


def _exact() -> Step:
    index = ExactIndex()

    def step(draft: Draft, ledger: Ledger) -> None:
        draft.detail = index.find_or_add(draft.text, draft.name)
        draft.reason = "exact_duplicate" if draft.detail else None

    return step


def _near(config: CurateConfig) -> Step:
    dedup = config.dedup
    assert dedup is not None
    index = NearIndex(dedup.hashes, dedup.similarity, dedup.shingle_words)

    def step(draft: Draft, ledger: Ledger) -> None:
        draft.detail = index.find_or_add(draft.ids, draft.name)
        draft.reason = "near_duplicate" if draft.detail else None

    return step


def _pii(replaced: Counter[str]) -> Step:
    def step(draft: Draft, ledger: Ledger) -> None:
        text, found = replace_pii(draft.text)
        replaced.update(found)
        _change(draft, text, draft.text, "pii", ledger)

    return step


def _holdout(config: CurateConfig) -> Step:
    """Hold out by a hash of the row's key or title: who is held out does not hang on the others."""

    def step(draft: Draft, ledger: Ledger) -> None:
        key = draft.name.split("#")[0] if config.holdout_group == "title" else draft.name
        draft.reason = HELDOUT if hash64(f"holdout {key}") < config.holdout * 2**64 else None

    return step

"""Find documents that hold a held-out test: shared runs of words, as GPT-3 (Brown et al. 2020).

A test is its question and its answer. A document is contaminated where it shares a run of
`ngram` words with either; a question shorter than that must be found whole. An answer counts only
from twice that length on, as a worked solution: "a baker" or "g-a-r-d-e-n-e-r" proves nothing.
Signs of arithmetic are words, so "37 - 45" does not match "37 + 45".

Pretraining text and conversations are both looked through; in the latter, message by message and
by runs of 13 words (GPT-3's), because instructions share their phrases ("Classify each of the
following as").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hfllm.data.curation.document import Document
from hfllm.data.curation.words import ngram_ids, split_words, word_ids
from hfllm.data.ledger import Drop, Example, Ledger, Row
from hfllm.data.reading.examples import read_rows
from hfllm.data.reading.files import Resolve
from hfllm.recipe.config import SourceConfig

QUESTIONS = (
    "prompt", "messages", "turns", "question", "instruction", "input", "text",
    "query", "context", "context_options", "sentence_good",
)  # fmt: skip
ANSWERS = ("answer", "solution", "output", "canonical_solution", "target")
MIN_WORDS = 3  # a shorter question would match half of all prose
CHAT_NGRAM = 13


class Decontaminate:
    """The block: drop a document that holds a test."""

    def __init__(self, tests: TestIndex) -> None:
        """Look for these."""
        self.tests = tests

    def __call__(self, document: Document) -> Drop | None:
        """Drop("contamination", the test's id) or nothing."""
        found = self.tests.find(document.ids)
        return Drop("contamination", found) if found else None


def without_tests(
    chats: Iterable[Example], tests: TestIndex | None, ledger: Ledger
) -> Iterator[Example]:
    """Those conversations of which no message holds a test; the others are dropped, and counted."""
    for chat in chats:
        if tests and any(tests.find_text(message["content"]) for message in chat["messages"]):
            ledger.drop(chat, "contamination")
        else:
            yield chat


class TestIndex:
    """Hashed word runs of held-out tests, by their length."""

    __test__ = False  # not a test class of pytest

    def __init__(self, rows: Iterable[Row], ngram: int) -> None:
        """Take in test rows of any shape; ValueError where no row holds a text to look for."""
        runs: dict[int, dict[int, str]] = {}
        row: Row = {}
        for row in rows:
            for text, whole in _texts(row):
                ids = word_ids(split_words(text))
                length = min(ngram, len(ids))
                if len(ids) < (MIN_WORDS if whole else 2 * ngram):
                    continue
                named = runs.setdefault(length, {})
                for run in ngram_ids(ids, length).tolist():
                    named.setdefault(run, str(row["id"]))
        if not runs:
            there = ", ".join(row) or "no rows at all"
            raise ValueError(
                f"decontaminate: no questions in {', '.join(QUESTIONS)}; it has {there}"
            )
        self.runs = runs
        self.sorted = {n: np.sort(np.fromiter(named, np.uint64)) for n, named in runs.items()}

    def find(self, ids: np.ndarray) -> str | None:
        """Id of a test that the document (word ids, (W,)) holds, or None."""
        for length, known in self.sorted.items():
            if len(ids) < length:
                continue
            own = ngram_ids(ids, length)
            at = np.searchsorted(known, own).clip(max=len(known) - 1)
            hits = own[known[at] == own]
            if len(hits):
                return self.runs[length][int(hits[0])]
        return None

    def find_text(self, text: str) -> str | None:
        """As `find`, for a text."""
        return self.find(word_ids(split_words(text)))


def read_tests(sources: list[SourceConfig], resolve: Resolve, ngram: int) -> TestIndex | None:
    """The index of all rows of the sources; None where there are no sources."""
    rows = (row for source in sources for row in read_rows(source, resolve))
    return TestIndex(rows, ngram) if sources else None


def _texts(row: Row) -> Iterator[tuple[str, bool]]:
    """(text, whether it counts although it is short) of a test's questions and answers."""
    for keys, whole in ((QUESTIONS, True), (ANSWERS, False)):
        for key in keys:
            for text in _strings(row.get(key)):
                yield text, whole


def _strings(value: Any) -> Iterator[str]:
    """The texts in a string, a list of strings, or messages (system messages left out)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict) and value.get("role") != "system":
        yield from _strings(value.get("content"))

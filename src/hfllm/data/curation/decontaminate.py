"""Decontamination: drop documents that share word n-grams with held-out tests.

Method of GPT-3 (Brown et al. 2020, appendix C). A test is its question and its answer. A document
is contaminated if it shares `ngram` consecutive words with either; a shorter question must occur
whole. An answer is looked for only if it has at least twice that many words, as a worked solution:
a short one ("a baker", "g-a-r-d-e-n-e-r") occurs by chance. Signs of arithmetic are words, so
"37 - 45" does not match "37 + 45".

Both pretraining text and conversations are searched; conversations message by message and with 13
words (GPT-3's number), because instructions share phrases ("Classify each of the following as").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hfllm.data.curation.document import Document
from hfllm.data.curation.words import ngram_ids, split_words, word_ids
from hfllm.data.ledger import Drop, Example, Ledger
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
    """The block: drop a document that contains a test."""

    def __init__(self, tests: TestIndex) -> None:
        """Search documents for the tests of this index."""
        self.tests = tests

    def __call__(self, document: Document) -> Drop | None:
        """Drop("contamination", the test's id), or None."""
        found = self.tests.find(document.ids)
        return Drop("contamination", found) if found else None


def drop_contaminated_chats(
    chats: Iterable[Example], tests: TestIndex | None, ledger: Ledger
) -> Iterator[Example]:
    """Yield the conversations without a test in any message; drop the others in the ledger.

    Args:
        chats: examples with `messages`.
        tests: of `read_tests`; None keeps every conversation.
        ledger: gets "contamination" for each dropped conversation.
    """
    for chat in chats:
        if tests and any(tests.find_text(message["content"]) for message in chat["messages"]):
            ledger.drop(chat, "contamination")
        else:
            yield chat


class TestIndex:
    """Hashed word n-grams of held-out tests, by their length n."""

    __test__ = False  # not a test class of pytest

    def __init__(self, rows: Iterable[dict[str, Any]], ngram: int) -> None:
        """Index test rows of any format; ValueError if no row has a question or an answer."""
        runs: dict[int, dict[int, str]] = {}  # {n: {hash: a test's id}}
        row: dict[str, Any] = {}
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
                f"decontaminate: no questions in {', '.join(QUESTIONS)}; it has {there}; rename "
                "the column with `columns`"
            )
        self.runs = runs
        self.sorted = {n: np.sort(np.fromiter(named, np.uint64)) for n, named in runs.items()}

    def find(self, ids: np.ndarray) -> str | None:
        """Id of a test that occurs in the document with the word ids `ids` (W,); None without."""
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
        """`find` on the words of a text."""
        return self.find(word_ids(split_words(text)))


def read_tests(sources: list[SourceConfig], resolve: Resolve, ngram: int) -> TestIndex | None:
    """The index of the test rows of `sources`; None without sources.

    Args:
        sources: held-out tests.
        resolve: name of a step -> its data folder.
        ngram: consecutive words that must match.
    """
    rows = (row for source in sources for row in read_rows(source, resolve))
    return TestIndex(rows, ngram) if sources else None


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """(text, whether a short one is looked for too) of a test's questions and answers."""
    for keys, whole in ((QUESTIONS, True), (ANSWERS, False)):
        for key in keys:
            for text in _strings(row.get(key)):
                yield text, whole


def _strings(value: Any) -> Iterator[str]:
    """The texts in a string, a list of strings, or messages, without system messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict) and value.get("role") != "system":
        yield from _strings(value.get("content"))

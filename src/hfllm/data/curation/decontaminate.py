"""Decontamination: drop examples that share word n-grams with held-out tests.

Method of GPT-3 (Brown et al. 2020, appendix C). A test is its question and its answer. A document
is contaminated if it shares `ngram` consecutive words with either; a shorter question must occur
whole. An answer is looked for only if it has at least twice that many words, as a worked solution:
a short one ("a baker", "g-a-r-d-e-n-e-r") occurs by chance. Signs of arithmetic are words, so
"37 - 45" does not match "37 + 45". Case and Unicode form are ignored (words.py).

In scripts without spaces a character is a word, and two (Chinese, Japanese) or four of them (Thai
and its like) count as one here. A question of fewer than three words is looked for sign by sign, as
"12*7?" is, if it has a number and an operator and at least four signs. What is shorter ("Why?")
would be found in half of all texts: it is not looked for; the number of such tests is printed and
in the ledger, beside the sums.

Documents, conversations, pairs and prompts are searched; all but documents text by text and with 13
words (GPT-3's number), because instructions share phrases ("Classify each of the following as").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hfllm.data.curation.document import Document
from hfllm.data.curation.words import ngram_ids, split_tokens, split_words, word_ids
from hfllm.data.ledger import Drop, Example, Ledger
from hfllm.data.reading.examples import label, read_rows
from hfllm.data.reading.files import Resolve
from hfllm.data.scripts import characters_per_word
from hfllm.recipe.config import SourceConfig
from hfllm.runs.processes import is_main_process

QUESTIONS = (
    "prompt", "messages", "conversations", "turns", "question", "question_stem", "instruction",
    "input", "text", "query", "goal", "ctx", "sentence", "context", "context_options",
    "sentence_good",
)  # fmt: skip
ANSWERS = ("answer", "solution", "output", "canonical_solution", "target")
MIN_WORDS = 3  # a shorter question would match half of all prose
MIN_SIGNS = 4  # of a question that is looked for sign by sign
OPERATOR = re.compile(r"[-+*/=×÷^%<>√]")
UNSEARCHED = "unsearched:too_short"
NGRAM = 13  # of conversations, pairs and prompts


class Decontaminate:
    """The block: drop a document that contains a test."""

    def __init__(self, tests: TestIndex) -> None:
        """Search documents for the tests of this index."""
        self.tests = tests

    def __call__(self, document: Document) -> Drop | None:
        """Drop("contamination", the test's id), or None."""
        found = self.tests.find(document.text, document.ids)
        return Drop("contamination", found) if found else None


def drop_contaminated(
    examples: Iterable[Example], tests: TestIndex | None, ledger: Ledger, keys: tuple[str, ...]
) -> Iterator[Example]:
    """Yield the examples without a test in any text; drop the others in the ledger.

    Args:
        examples: conversations, pairs, prompts or documents, as the readers yield them.
        tests: of `read_tests`; None keeps every example.
        ledger: gets "contamination" for each dropped example.
        keys: columns of texts or messages that are searched, each text for itself.
    """
    for example in examples:
        texts = (text for key in keys for text in _strings(example[key]))
        if tests and any(tests.find(text) for text in texts):
            ledger.drop(example, "contamination")
        else:
            yield example


class TestIndex:
    """Hashed word n-grams of held-out tests, by their length n.

    asked: how many tests there are. unsearched: ids of those that could not be looked for.
    """

    __test__ = False  # not a test class of pytest

    def __init__(self, ngram: int) -> None:
        """Start without tests; `ngram`: words that must match."""
        self.ngram = ngram
        self.words: dict[int, dict[int, str]] = {}  # {n: {hash: a test's id}}
        self.tokens: dict[int, dict[int, str]] = {}  # the same of short tests, sign by sign
        self.asked, self.unsearched = 0, list[str]()
        self._sorted: dict[int, tuple[int, np.ndarray]] = {}

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]], ngram: int) -> TestIndex:
        """The index of some rows; raises as `add`."""
        index = cls(ngram)
        index.add(rows)
        return index

    def add(self, rows: Iterable[dict[str, Any]], name: str = "") -> None:
        """Index test rows of any format.

        Args:
            rows: with an `id` and questions or answers in any of QUESTIONS and ANSWERS.
            name: of their source, for the message.

        Raises:
            ValueError: no row has a question or an answer.
        """
        row: dict[str, Any] = {}
        texts = 0
        for row in rows:
            self.asked += 1
            found = [self._add(str(row["id"]), text, whole) for text, whole in _texts(row)]
            texts += len(found)
            if not any(found):
                self.unsearched.append(str(row["id"]))
        if not texts:
            there = ", ".join(row) or "no rows at all"
            raise ValueError(
                f"decontaminate: {name and f'source {name!r}: '}no questions in "
                f"{', '.join(QUESTIONS)}; it has {there}; rename the column with `columns`"
            )

    def _add(self, test: str, text: str, whole: bool) -> bool:
        """Index a text of a test; whether it can be looked for."""
        words, tokens = split_words(text), _bare(split_tokens(text))
        per_word = characters_per_word(words)
        found = len(words) >= (MIN_WORDS if whole else 2 * self.ngram) * per_word
        if found:
            _index(self.words, test, words, self.ngram * per_word)
        if whole and _is_short_sum(tokens) and (not found or not any(map(str.isalpha, text))):
            _index(self.tokens, test, tokens, len(tokens))
            found = True
        return found

    def find(self, text: str, ids: np.ndarray | None = None) -> str | None:
        """Id of a test that occurs in a text, None without; `ids`: the word ids of it, (W,)."""
        if self.words:
            ids = word_ids(split_words(text)) if ids is None else ids
            if found := self._find(self.words, ids):
                return found
        if self.tokens and OPERATOR.search(text):
            return self._find(self.tokens, word_ids(split_tokens(text)))
        return None

    def _find(self, runs: dict[int, dict[int, str]], ids: np.ndarray) -> str | None:
        for length, tests in runs.items():
            if len(ids) < length:
                continue
            known = self._known(tests)
            own = ngram_ids(ids, length)
            at = np.searchsorted(known, own).clip(max=len(known) - 1)
            hits = own[known[at] == own]
            if len(hits):
                return tests[int(hits[0])]
        return None

    def _known(self, tests: dict[int, str]) -> np.ndarray:
        """The hashes of a table, sorted; made again only when it has grown."""
        size, known = self._sorted.get(id(tests), (0, np.empty(0, np.uint64)))
        if size != len(tests):
            known = np.sort(np.fromiter(tests, np.uint64, len(tests)))
            self._sorted[id(tests)] = len(tests), known
        return known


def read_tests(
    sources: list[SourceConfig] | None, resolve: Resolve, ngram: int, ledger: Ledger
) -> TestIndex | None:
    """The index of the test rows of `sources`; None without sources.

    Args:
        sources: held-out tests.
        resolve: name of a step -> its data folder.
        ngram: consecutive words that must match.
        ledger: gets the number of tests that cannot be looked for, which is printed too.
    """
    if not sources:
        return None
    tests = TestIndex(ngram)
    for source in sources:
        asked, before = tests.asked, len(tests.unsearched)
        tests.add(read_rows(source, resolve), label(source))
        if unsearched := tests.unsearched[before:]:
            ledger.note(label(source), UNSEARCHED, rows=len(unsearched))
            _say_unsearched(label(source), unsearched, tests.asked - asked)
    return tests


def _say_unsearched(name: str, tests: list[str], asked: int) -> None:
    shown = ", ".join(tests[:3]) + (", ..." if len(tests) > 3 else "")
    if is_main_process():
        print(
            f"  decontaminate: {name}: {len(tests):,} of {asked:,} tests could not be looked for: "
            f"their questions are too short or missing ({shown})",
            flush=True,
        )


def _index(runs: dict[int, dict[int, str]], test: str, words: list[str], ngram: int) -> None:
    ids = word_ids(words)
    length = min(ngram, len(ids))
    named = runs.setdefault(length, {})
    for run in ngram_ids(ids, length).tolist():
        named.setdefault(run, test)


def _bare(tokens: list[str]) -> list[str]:
    """The tokens without punctuation at the end: "12*7?" and "12*7 = ?" are "12*7"."""
    while tokens and not tokens[-1].isalnum():
        tokens = tokens[:-1]
    return tokens


def _is_short_sum(tokens: list[str]) -> bool:
    """Whether the tokens are a short calculation that does not occur by chance."""
    text = "".join(tokens)
    return (
        len(text) >= MIN_SIGNS
        and len(tokens) >= MIN_WORDS
        and bool(OPERATOR.search(text))
        and any(map(str.isdigit, text))
    )


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """(text, whether a short one is looked for too) of a test's questions and answers."""
    for keys, whole in ((QUESTIONS, True), (ANSWERS, False)):
        for key in keys:
            for text in _strings(row.get(key), unread=("system",)):
                yield text, whole


def _strings(value: Any, unread: tuple[str, ...] = ()) -> Iterator[str]:
    """The texts in a string, a list of strings, or messages; not those by the roles `unread`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, unread)
    elif isinstance(value, dict) and value.get("role", value.get("from")) not in unread:
        yield from _strings(value.get("content", value.get("value", value.get("text"))), unread)

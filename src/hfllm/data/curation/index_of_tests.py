"""The index of held-out tests that decontamination searches for (decontaminate.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hfllm.data.curation.words import fold, ngram_ids, split_tokens, split_words, word_ids
from hfllm.data.scripts import characters_per_word

QUESTIONS = (
    "prompt", "messages", "conversations", "turns", "question", "question_stem", "instruction",
    "input", "text", "query", "goal", "ctx", "sentence", "context", "context_options",
    "sentence_good",
)  # fmt: skip
ANSWERS = ("answer", "solution", "output", "canonical_solution", "target")
MIN_WORDS = 3  # a shorter question would match half of all prose
MIN_SIGNS = 4  # of a question that is looked for sign by sign
# an operator between two numbers; not that of "Top-10", "C++11" or "50% off"
OPERATOR = re.compile(r"[\d)]\s*([-+*/=×÷^%<>])(?=\s*[-√(]*\s*\d)")
OF_OTHER_THINGS = {"-", "/", "%"}  # pages 2-10, 24/7
ASKED = ("=", "?")  # what follows them in a text that does calculate


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
        if whole and (not found or not any(map(str.isalpha, text))):
            for run in _short_sums(tokens):
                _index(self.tokens, test, run, len(run))
                found = True
        return found

    def find(self, text: str, ids: np.ndarray | None = None) -> str | None:
        """Id of a test that occurs in a text, None without; `ids`: the word ids of it, (W,)."""
        if self.words:
            ids = word_ids(split_words(text)) if ids is None else ids
            if found := self._find(self.words, ids):
                return found
        if self.tokens and OPERATOR.search(fold(text)):
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


def _short_sums(tokens: list[str]) -> list[list[str]]:
    """What to look for of a short calculation that does not occur by chance; [] of anything else.

    With signs of other things alone ("2-10" may be pages) it is looked for as it is asked or
    answered: "2-10 =", "2-10?".
    """
    text = "".join(tokens)
    operators = set(OPERATOR.findall(text))
    if len(text) < MIN_SIGNS or len(tokens) < MIN_WORDS or not operators:
        return []
    return [[*tokens, end] for end in ASKED] if operators <= OF_OTHER_THINGS else [tokens]


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """(text, whether a short one is looked for too) of a test's questions and answers."""
    for keys, whole in ((QUESTIONS, True), (ANSWERS, False)):
        for key in keys:
            for text in strings(row.get(key), unread=("system",)):
                yield text, whole


def strings(value: Any, unread: tuple[str, ...] = ()) -> Iterator[str]:
    """The texts in a string, a list of strings, or messages; not those by the roles `unread`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one, unread)
    elif isinstance(value, dict) and value.get("role", value.get("from")) not in unread:
        yield from strings(value.get("content", value.get("value", value.get("text"))), unread)

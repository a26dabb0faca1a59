"""Quality filters: heuristics on a document's text, each with a reason to drop it.

After Gopher (Rae et al. 2021, table A1: word count, symbols per word, alphabetic words, stop words,
repeated lines and word n-grams), as in C4 (Raffel et al. 2020) and FineWeb (Penedo et al. 2024),
with three changes for short documents (30 to 120 words). Stop words are counted from a list of 34
instead of 8. A number within a sum ("37 + 45 = 82") counts as an alphabetic word, and a page of
sums needs no stop words. Repetition is the share of words within 5-grams that occurred before in
the text, not one share per n. The cheapest heuristic runs first; about 10 MB/s in all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np

from hfllm.data.curation.config import FilterConfig
from hfllm.data.curation.document import Document
from hfllm.data.curation.language import check_language, unknown_languages
from hfllm.data.curation.words import ngram_ids
from hfllm.data.ledger import Drop
from hfllm.data.scripts import count_words, has_spaceless

STOP_WORDS = frozenset(
    ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher's eight
    + ("a", "an", "in", "is", "it", "was", "are", "for", "on", "as", "at", "by", "from", "this")
    + ("they", "he", "she", "his", "her", "has", "had", "not", "you", "we", "but", "or")
)
SYMBOL = re.compile(r"\.\.\.|[#…]|[{}<>|\\^~$%*•]{2,}")  # runs of signs: code has single ones
SUM = re.compile(  # possessive: long runs of digits must not cost their square
    r"(?<![\d.,])\d[\d.,]*+(?:\s*[-+*/x×÷]\s*\d[\d.,]*+)+(?:\s*=\s*-?\d[\d.,]*+)?"
)
REASONS = (
    "short", "long", "symbols", "few_alpha_words", "language", "gibberish", "few_stop_words",
    "repeated_lines", "repeated_ngrams",
)  # fmt: skip
RUN_WORDS = 5
MIN_LINES = 4  # in fewer lines a repetition is emphasis, not a page's menu


class QualityFilters:
    """The block: drop a document for the first reason that its source is not exempt from."""

    def __init__(self, config: FilterConfig) -> None:
        """Keep the thresholds; ValueError for a language that the classifier does not know."""
        if unknown := unknown_languages(config.languages or []):
            raise ValueError(
                f"filters.languages: no language {unknown[0]!r}; use ISO codes such as en"
            )
        self.config = config
        self.exempt = {source: frozenset(reasons) for source, reasons in config.exempt.items()}

    def __call__(self, document: Document) -> Drop | None:
        """Drop(one of REASONS), or None."""
        exempt = self.exempt.get(document.source, frozenset())
        reason = check_quality(document.text, document.words, document.ids, self.config, exempt)
        return Drop(reason) if reason else None


def check_quality(
    text: str, words: list[str], ids: np.ndarray, config: FilterConfig, exempt: Collection[str] = ()
) -> str | None:
    """The first reason to drop the document that is not in `exempt`; None to keep it.

    Args:
        text: the document's text.
        words: `split_words` of it.
        ids: `word_ids` of these, (W,).
        config: thresholds.
        exempt: reasons that are not applied.
    """
    return next((why for why in _reasons(text, words, ids, config) if why not in exempt), None)


def _reasons(text: str, words: list[str], ids: np.ndarray, config: FilterConfig) -> Iterator[str]:
    count = count_words(words) if has_spaceless(text) else len(words)
    if config.min_words is not None and count < config.min_words:
        yield "short"
    if config.max_words is not None and count > config.max_words:
        yield "long"
    if _above(len(SYMBOL.findall(text)) / max(1, count), config.max_symbol_ratio):
        yield "symbols"
    if config.min_alpha_word_ratio and _alpha_ratio(text, words) < config.min_alpha_word_ratio:
        yield "few_alpha_words"
    if config.languages:
        reason = check_language(text, config.languages, config.min_language_score)
        if reason:
            yield reason
    few = len(STOP_WORDS.intersection(words)) < (config.min_stop_words or 0)
    if few and _numbers_in_sums(text) < len(words) / 3:  # sums need no "the"
        yield "few_stop_words"
    if _above(_repeated_lines(text), config.max_repeated_line_ratio):
        yield "repeated_lines"
    if _above(_repeated_words(ids), config.max_repeated_ngram_ratio):
        yield "repeated_ngrams"


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _alpha_ratio(text: str, words: list[str]) -> float:
    """Share of words with a letter, or within a sum."""
    numbers, signs = sum(map(str.isdigit, words)), len(words) - sum(map(str.isalnum, words))
    alpha = len(words) - numbers - signs
    if alpha >= numbers:  # prose
        return alpha / max(1, alpha + numbers)
    return (alpha + min(_numbers_in_sums(text), numbers)) / (alpha + numbers)


def _numbers_in_sums(text: str) -> int:
    return sum(len(re.findall(r"\d+", match[0])) for match in SUM.finditer(text))


def _repeated_lines(text: str) -> float:
    """Share of characters in lines that repeat an earlier one (short lines weigh little)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < MIN_LINES:
        return 0.0
    return 1 - sum(map(len, set(lines))) / sum(map(len, lines))


def _repeated_words(ids: np.ndarray) -> float:
    """Share of words within a 5-gram that occurred before in the text."""
    if len(ids) < 2 * RUN_WORDS:
        return 0.0
    runs = ngram_ids(ids, RUN_WORDS)  # (W - 4,)
    first = np.zeros(len(runs), bool)
    first[np.unique(runs, return_index=True)[1]] = True
    if first.all():
        return 0.0
    covered = np.zeros(len(ids), bool)
    for i in range(RUN_WORDS):
        covered[i : i + len(runs)] |= ~first
    return float(covered.mean())

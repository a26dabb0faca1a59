"""The keys of a `curate` step: sources, filters, duplicates, held-out tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.ranges import ABOVE_0_TO_1, AT_LEAST_1, BELOW_1, NOT_NEGATIVE, SHARE, within


@dataclass
class FilterConfig:
    """Thresholds of the document filters (reasons: data/curation/filters.py); `null`: off."""

    languages: list[str] | None = field(default_factory=lambda: ["en"])  # ISO 639-1, kept
    # drop where another language scores at least this
    min_language_score: float = within(SHARE, 0.5)
    min_words: int | None = within(NOT_NEGATIVE, 5)  # of a document
    max_words: int | None = within(AT_LEAST_1, 100_000)  # of a document
    max_symbol_ratio: float | None = within(NOT_NEGATIVE, 0.1)  # symbols per word
    min_alpha_word_ratio: float | None = within(SHARE, 0.6)  # share of words with a letter
    # share of lines that stand twice or more
    max_repeated_line_ratio: float | None = within(SHARE, 0.3)
    # share of words in 5-grams that occurred before
    max_repeated_ngram_ratio: float | None = within(SHARE, 0.4)
    min_stop_words: int | None = within(NOT_NEGATIVE, 2)  # different stop words (English)
    exempt: dict[str, list[str]] = field(default_factory=dict)  # {source: reasons not applied}


@dataclass
class DedupConfig:
    """Exact (hash of the normalised text) and near (MinHash LSH over word shingles) duplicates."""

    exact: bool = True  # drop documents with the same text
    near: bool = True  # drop documents with nearly the same text
    # of the shingles (Jaccard) from which two are near duplicates
    similarity: float = within(ABOVE_0_TO_1, 0.8)
    shingle_words: int = within(AT_LEAST_1, 5)  # words of a shingle
    hashes: int = within(AT_LEAST_1, 112)  # of a document's MinHash signature


@dataclass
class CurateConfig:
    """Raw documents -> clean documents (JSONL), with a reason for whatever is dropped."""

    sources: list[SourceConfig] = MISSING
    filters: FilterConfig | None = field(default_factory=FilterConfig)
    dedup: DedupConfig | None = field(default_factory=DedupConfig)
    pii: bool = True  # replace e-mail addresses, phone numbers and IP addresses
    decontaminate: list[SourceConfig] = field(default_factory=list)  # held-out tests
    decontaminate_ngram: int = within(AT_LEAST_1, 8)  # words that must match
    # share of kept documents written to heldout.jsonl instead
    holdout: float = within(BELOW_1, 0.0)
    holdout_group: str | None = None  # "title": split by the id before "#", not by row

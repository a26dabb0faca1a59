"""The keys of a `curate` step: sources, filters, duplicates, held-out tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig


@dataclass
class FilterConfig:
    """Thresholds of the document filters (reasons: data/curation/filters.py); `null`: off."""

    languages: list[str] | None = field(default_factory=lambda: ["en"])  # ISO 639-1, kept
    min_language_score: float = 0.5  # drop where another language scores at least this
    min_words: int | None = 5  # of a document
    max_words: int | None = 100_000  # of a document
    max_symbol_ratio: float | None = 0.1  # symbols per word
    min_alpha_word_ratio: float | None = 0.6  # share of words with a letter
    max_repeated_line_ratio: float | None = 0.3  # share of lines that stand twice or more
    max_repeated_ngram_ratio: float | None = 0.4  # share of words in 5-grams that occurred before
    min_stop_words: int | None = 2  # different stop words (English)
    exempt: dict[str, list[str]] = field(default_factory=dict)  # {source: reasons not applied}


@dataclass
class DedupConfig:
    """Exact (hash of the normalised text) and near (MinHash LSH over word shingles) duplicates."""

    exact: bool = True  # drop documents with the same text
    near: bool = True  # drop documents with nearly the same text
    similarity: float = 0.8  # of the shingles (Jaccard) from which two are near duplicates
    shingle_words: int = 5  # words of a shingle
    hashes: int = 112  # of a document's MinHash signature


@dataclass
class CurateConfig:
    """Raw documents -> clean documents (JSONL), with a reason for whatever is dropped."""

    sources: list[SourceConfig] = MISSING
    filters: FilterConfig | None = field(default_factory=FilterConfig)
    dedup: DedupConfig | None = field(default_factory=DedupConfig)
    pii: bool = True  # replace e-mail addresses, phone numbers and IP addresses
    decontaminate: list[SourceConfig] = field(default_factory=list)  # held-out tests
    decontaminate_ngram: int = 8  # words that must match
    holdout: float = 0.0  # share of kept documents written to heldout.jsonl instead
    holdout_group: str | None = None  # "title": split by the id before "#", not by row

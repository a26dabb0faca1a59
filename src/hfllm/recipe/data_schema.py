"""The keys of the data steps and of the `data:` sections; see schema.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

CONSTRAINTS = (
    "lowercase", "no_comma", "max_words", "ends_with", "bullets", "json", "contains"
)  # fmt: skip


@dataclass
class SourceConfig:
    """Where rows come from: exactly one of `step`, `path` and `hub` (a `datasets` id).

    `step`: what an earlier step wrote (`file`: which of its files); `path`: a file, a glob or a
    folder of .txt/.md, .jsonl(.gz), .json(.gz), .parquet.
    """

    name: str | None = None  # label in the ledger; default: the file's or step's name
    step: str | None = None
    file: str | None = None
    path: str | None = None
    hub: str | None = None
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    format: str | None = None  # row adapter; default: guessed from the columns
    columns: dict[str, str] = field(default_factory=dict)  # rename: {theirs: ours}
    where: dict[str, Any] = field(default_factory=dict)  # {column: value, glob or list}: keep these
    where_not: dict[str, Any] | None = None  # the same: leave these out
    weight: float | None = None  # share in a mixture; default: by size
    limit: int | None = None  # rows at most
    on_error: str = "raise"  # raise | skip (and count) an unreadable row


@dataclass
class WorldConfig:
    """Size of the small world; every count scales what is written, nothing else."""

    seed: int | None = None  # default: the recipe's seed
    people: int = 48  # people who appear in documents
    strangers: int = 900  # people in no document (hallucination); up to 200 of them for tests
    documents: int = 6000
    chats: int = 9000
    pairs: int = 15000
    prompts: int = 3000
    tests: int = 200  # rows per held-out test


@dataclass
class FilterConfig:
    """Thresholds of the document filters (reasons: data/curation/filters.py); `null`: off."""

    languages: list[str] | None = field(default_factory=lambda: ["en"])
    min_language_score: float = 0.5  # drop where another language scores at least this
    min_words: int | None = 5
    max_words: int | None = 100_000
    max_symbol_ratio: float | None = 0.1
    min_alpha_word_ratio: float | None = 0.6
    max_repeated_line_ratio: float | None = 0.3
    max_repeated_ngram_ratio: float | None = 0.4
    min_stop_words: int | None = 2
    exempt: dict[str, list[str]] = field(default_factory=dict)  # {source: reasons not applied}


@dataclass
class DedupConfig:
    """Exact (hash of the normalised text) and near (MinHash LSH over word shingles) duplicates."""

    exact: bool = True
    near: bool = True
    similarity: float = 0.8
    shingle_words: int = 5
    hashes: int = 112


@dataclass
class InstructionsConfig:
    """Real prompts with constraints that a program can check, for RL and as a test."""

    prompts: list[SourceConfig] = MISSING
    tests: int = 128  # prompts that go to tests.jsonl instead
    max_words: int = 40  # longer prompts are left out
    kinds: list[str] | None = None  # some of CONSTRAINTS; default: all
    demonstrations: int | None = (
        None  # chats_train.jsonl: the prompts' own answers, made to keep constraints
    )


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


@dataclass
class TokenizerConfig:
    """Byte-level BPE with a GPT-4-style split and the chat template, as a transformers folder."""

    vocab_size: int = 4096
    data: list[SourceConfig] = field(default_factory=lambda: [SourceConfig(step="curate")])
    max_mb: float = 50.0  # text to train on
    digits: int = 3  # longest run of digits in one token (1 helps arithmetic in small models)


@dataclass
class TextDataConfig:
    """Documents for pretraining."""

    mixture: list[SourceConfig] = field(default_factory=lambda: [SourceConfig(step="curate")])
    heldout: list[SourceConfig] = field(default_factory=list)  # for bits per byte
    seq_len: int = 512
    max_heldout_tokens: int = 100_000  # of each held-out source


@dataclass
class ChatDataConfig:
    """Conversations for supervised fine-tuning."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)
    seq_len: int = 512
    packing: bool = True
    turns: str | None = None  # train all answers of a row (all), its `last`, or `each` in its own
    replay: list[SourceConfig] = field(default_factory=list)  # documents, against forgetting
    replay_share: float = 0.25  # of the rows
    decontaminate: list[SourceConfig] = field(default_factory=list)  # drop chats that hold a test


@dataclass
class PairDataConfig:
    """Preference pairs for reward models."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)
    holdout: float = 0.0  # share of prompts (never rows) held out, to data/heldout.jsonl
    seq_len: int = 512


@dataclass
class PromptDataConfig:
    """Prompts for reinforcement learning; other columns go to the reward functions."""

    mixture: list[SourceConfig] = MISSING
    max_prompt_tokens: int = 256

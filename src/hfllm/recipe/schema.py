"""The recipe language: every key a recipe may hold, as dataclasses, one per stage.

They stand in one light module (no torch, no trl): the cheap checks run before any heavy import. A
`trainer:` section is the library's own class (`TRAINERS` names it by path) and is merged into it by
`recipe.trainers`: no field is declared twice. `None` is "not set"; `MISSING` must be set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

RESERVED = ("name", "run_dir", "seed", "launch", "track", "vars")
TASK_KINDS = ("bits_per_byte", "answers", "replies", "preference", "choices", "continuation")


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
    format: str | None = None  # row adapter (data/formats.py); default: guessed from the columns
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
    """Thresholds of the document filters (data/filters.py lists the reasons); `null`: off."""

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
    max_heldout_tokens: int = 100_000


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


@dataclass
class TrainConfig:
    """What every training step shares."""

    init: str | None = None  # a step, a model folder or a hub id
    tokenizer: str | None = None  # default: that of `init`, else the step `tokenizer`
    trainer: dict[str, Any] = field(default_factory=dict)  # the library's own config class
    peft: dict[str, Any] | None = None  # peft.LoraConfig
    resume: bool = True  # continue from the last good checkpoint


@dataclass
class PretrainConfig(TrainConfig):
    """Train a causal LM from scratch, or go on with another (`init`: midtraining)."""

    model: dict[str, Any] = field(default_factory=dict)  # any transformers config, its own names
    data: TextDataConfig = field(default_factory=TextDataConfig)
    optimizer: str | None = None  # null: trainer.optim; "muon": for matrices, AdamW for the rest
    sample_prompts: list[str] = field(default_factory=list)  # continued along the way


@dataclass
class SFTStageConfig(TrainConfig):
    """Supervised fine-tuning on conversations, loss on the assistant's tokens only."""

    init: str | None = "pretrain"
    chat_template: str | None = None  # keep (that of `init`), hfllm (ours), or a .jinja file
    optimizer: str | None = None  # as in pretrain
    data: ChatDataConfig = field(default_factory=ChatDataConfig)


@dataclass
class RewardStageConfig(TrainConfig):
    """A reward model from preference pairs (Bradley-Terry)."""

    init: str | None = "sft"
    optimizer: str | None = None  # as in pretrain
    data: PairDataConfig = field(default_factory=PairDataConfig)


@dataclass
class PPOStageConfig(TrainConfig):
    """PPO against a reward model and/or reward functions."""

    init: str | None = "sft"
    reward: str | None = "reward"
    reward_functions: list[str] = field(default_factory=list)  # "package.module:function"
    data: PromptDataConfig = field(default_factory=PromptDataConfig)


@dataclass
class TaskConfig:
    """One held-out test: rows from `source`, scored by `kind` (evaluation/tasks.py)."""

    kind: str = MISSING  # one of TASK_KINDS
    source: SourceConfig = MISSING
    limit: int | None = None
    max_new_tokens: int = 48


@dataclass
class EvaluateConfig:
    """Models side by side on held-out tests."""

    models: list[str] = MISSING
    tasks: dict[str, TaskConfig] = MISSING
    reward: str | None = None  # a reward model that scores the answers too
    reference: str | None = None  # a model to which the KL of the answers is measured
    batch_size: int = 32


@dataclass
class ReportConfig:
    """The page that tells the run's story."""

    title: str | None = None
    side_by_side: int = 12  # prompts shown with every model's answer
    license: str | None = None  # of the models, a Hugging Face licence id, for their cards
    credits: list[str] | None = None  # whose data they were made of, and under which licence


STAGES: dict[str, type] = {
    "world": WorldConfig,
    "curate": CurateConfig,
    "tokenizer": TokenizerConfig,
    "pretrain": PretrainConfig,
    "sft": SFTStageConfig,
    "reward": RewardStageConfig,
    "ppo": PPOStageConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
}

# The class behind each `trainer:` section, imported when it is checked; the stages leave a model.
TRAINERS = {
    "pretrain": "transformers:TrainingArguments",
    "sft": "trl:SFTConfig",
    "reward": "trl:RewardConfig",
    "ppo": "hfllm.rl.config:PPOConfig",
}
REWARD_STAGES = ("reward",)  # no language models: a head of another kind

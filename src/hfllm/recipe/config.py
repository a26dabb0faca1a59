"""The keys that stages share: where rows come from, and what every training step takes.

A stage's own keys stand in its module (`Config`). Everything here is light: a recipe is checked
before any heavy import. A `trainer:` section is the library's own class, named by the stage, and is
merged into it by `recipe.trainers`: no field is declared twice. `None` is "not set"; `MISSING` must
be set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from hfllm.recipe.stage import MODELS, TOKENIZER, model_ref


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
class TextDataConfig:
    """Documents for pretraining."""

    mixture: list[SourceConfig] = MISSING
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
    """Preference pairs."""

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
    """What every training step shares; a stage that may begin without a model overrides `init`."""

    init: str | None = model_ref(required=True)  # a step, a model folder, a .gguf file or a hub id
    # default: that of `init`, else the step `tokenizer`
    tokenizer: str | None = model_ref(makes=(TOKENIZER, *MODELS), default_step=TOKENIZER)
    trainer: dict[str, Any] = field(default_factory=dict)  # the library's own config class
    attn_implementation: str | None = None  # of `init`, one of ATTENTION; default: the library's
    peft: dict[str, Any] | None = None  # peft.LoraConfig
    resume: bool = True  # continue from the last good checkpoint

"""Config dataclasses that several stages share: data sources, data sections, training keys.

A stage's own keys are in its module (class `Config`). Nothing heavy is imported, because a recipe
is checked before torch is. The keys of a `trainer:` section are not declared here: they are those
of the library's class that the stage names, and `recipe.trainers` merges them into it. `None` means
"not set"; a field with the default `MISSING` must be set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from hfllm.recipe.ranges import (
    ABOVE_0,
    AT_LEAST_1,
    BELOW_1,
    INSIDE_0_1,
    SHARE,
    Range,
    within,
)
from hfllm.recipe.stage import MODELS, TOKENIZER, model_ref
from hfllm.recipe.typed_config import COMPARED

A_FEW = Range(8)  # tokens


@dataclass
class SourceConfig:
    """Where examples come from: exactly one of `step`, `path` and `hub` (a `datasets` id).

    `step`: the data of an earlier step (`file`: one of its files). `path`: a file, a glob or a
    folder of text, JSON, CSV or parquet files, packed or not.
    """

    name: str | None = None  # label in the ledger; default: the file's or step's name
    step: str | None = None  # an earlier step, whose data is read
    file: str | None = None  # one of the step's files; default: kept.jsonl, or the only one
    path: str | None = None  # a file, a glob or a folder
    hub: str | None = None  # a data set's id on the Hugging Face hub
    subset: str | None = None  # of the hub's data set
    split: str = "train"  # of the hub's data set
    revision: str | None = None  # of the hub's data set: a branch, tag or commit
    format: str | None = None  # row adapter; default: guessed from the columns
    columns: dict[str, str] = field(default_factory=dict)  # rename: {column in the file: our name}
    # keep {column: value, glob or list}
    where: dict[str, Any] = field(default_factory=dict, metadata={COMPARED: True})
    # leave out {column: value, glob or list}
    where_not: dict[str, Any] | None = field(default=None, metadata={COMPARED: True})
    weight: float | None = within(ABOVE_0, None)  # share in a mixture; default: by size
    limit: int | None = within(AT_LEAST_1, None)  # rows at most
    on_error: str = "raise"  # an unreadable row: raise, or skip and count it
    # share of rows that may be left out; default: a half
    allow_dropped: float | None = within(SHARE, None)
    ignore: list[str] | None = None  # columns and keys of messages that are left out on purpose


@dataclass
class TextDataConfig:
    """Documents, packed into rows of `seq_len` tokens."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)  # evaluated in bits per byte
    seq_len: int = within(A_FEW, 512)  # tokens
    max_heldout_tokens: int = within(AT_LEAST_1, 100_000)  # per held-out source


@dataclass
class ChatDataConfig:
    """Conversations for supervised fine-tuning."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)
    seq_len: int = within(A_FEW, 512)  # tokens
    packing: bool = True  # several chats in a row; false: one
    # loss on all answers of a chat in one row (all), on its last one (last), or one row per answer
    # (each)
    turns: str | None = None
    replay: list[SourceConfig] = field(default_factory=list)  # documents, against forgetting
    replay_share: float = within(INSIDE_0_1, 0.25)  # of the rows
    # held-out tests; drop chats and replayed documents holding one
    decontaminate: list[SourceConfig] = field(default_factory=list)


@dataclass
class PairDataConfig:
    """Preference pairs: a prompt with a chosen and a rejected answer."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)
    # share of prompts (not of rows) held out, to data/heldout.jsonl
    holdout: float = within(BELOW_1, 0.0)
    seq_len: int = within(A_FEW, 512)  # tokens
    decontaminate: list[SourceConfig] | None = None  # held-out tests; drop pairs holding one


@dataclass
class LabelledDataConfig:
    """Answers that are good or bad, or preference pairs, whose two answers are taken apart."""

    mixture: list[SourceConfig] = MISSING
    heldout: list[SourceConfig] = field(default_factory=list)
    # share of prompts (not of rows) held out, to data/heldout.jsonl
    holdout: float = within(BELOW_1, 0.0)
    seq_len: int = within(A_FEW, 512)  # tokens of a prompt with one answer
    decontaminate: list[SourceConfig] | None = None  # held-out tests; drop answers holding one


@dataclass
class PromptDataConfig:
    """Prompts for reinforcement learning; the other columns are passed to the reward functions."""

    mixture: list[SourceConfig] = MISSING
    max_prompt_tokens: int = within(AT_LEAST_1, 256)  # longer prompts are dropped and counted
    decontaminate: list[SourceConfig] | None = None  # held-out tests; drop prompts holding one


@dataclass
class TrainConfig:
    """Keys of every training step; a stage that can train from scratch overrides `init`."""

    init: str | None = model_ref(required=True)  # a step, a model folder, a .gguf file or a hub id
    # default: the tokenizer of `init`, else that of the step `tokenizer`
    tokenizer: str | None = model_ref(makes=(TOKENIZER, *MODELS), default_step=TOKENIZER)
    trainer: dict[str, Any] = field(default_factory=dict)  # keys of the stage's trainer class
    attn_implementation: str | None = None  # for `init`, one of ATTENTION; default: the library's
    peft: dict[str, Any] | None = None  # keys of peft.LoraConfig
    resume: bool = True  # from the last complete checkpoint

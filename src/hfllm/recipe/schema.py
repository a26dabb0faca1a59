"""The recipe language: every key a recipe may hold, as dataclasses, one per stage.

Those of data steps and of `data:` sections stand in data_schema.py. Both are light (no torch, no
trl): the cheap checks run before any heavy import. A `trainer:` section is the library's own class
(`TRAINERS` names it by path) and is merged into it by `recipe.trainers`: no field is declared
twice. `None` is "not set"; `MISSING` must be set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from hfllm.recipe.data_schema import (
    ChatDataConfig,
    CurateConfig,
    InstructionsConfig,
    PairDataConfig,
    PromptDataConfig,
    SourceConfig,
    TextDataConfig,
    TokenizerConfig,
    WorldConfig,
)

RESERVED = ("name", "run_dir", "seed", "launch", "track", "vars")
OPTIMIZERS = ("muon",)  # beside the library's own, which `trainer.optim` names
ATTENTION = (  # transformers' own; beside them kernels of the hub, org/name
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4",
    "flex_attention",
)  # fmt: skip
PACKED_ATTENTION = ("eager", "sdpa")  # measured to keep the documents of a packed row apart
TASK_KINDS = (
    "bits_per_byte", "answers", "replies", "preference", "choices", "continuation",
    "instructions", "ifeval",
)  # fmt: skip


@dataclass
class TrainConfig:
    """What every training step shares."""

    init: str | None = None  # a step, a model folder, a .gguf file or a hub id
    tokenizer: str | None = None  # default: that of `init`, else the step `tokenizer`
    trainer: dict[str, Any] = field(default_factory=dict)  # the library's own config class
    attn_implementation: str | None = None  # of `init`, one of ATTENTION; default: the library's
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
    judge: str | None = None  # a chat model: what functions give counts as far as it is an answer
    judge_nats: float | None = None  # relevance that counts in full; default: 14; 0: only watch
    length_floor: int | None = None  # tokens: what functions give a shorter answer counts in part
    data: PromptDataConfig = field(default_factory=PromptDataConfig)


@dataclass
class TaskConfig:
    """One held-out test: rows from `source`, scored by `kind` (evaluation/tasks/)."""

    kind: str = MISSING  # one of TASK_KINDS
    source: SourceConfig = MISSING
    limit: int | None = None
    max_new_tokens: int | None = None  # of an answer; default: 48, for ifeval 512


@dataclass
class EvaluateConfig:
    """Models side by side on held-out tests."""

    models: list[str] = MISSING
    tasks: dict[str, TaskConfig] = MISSING
    reward: str | None = None  # a reward model that scores the answers too
    reference: str | None = None  # a model to which the KL of the answers is measured
    judge: str | None = None  # a chat model that tells the answers from other text (relevance)
    best_of: list[int] | None = None  # n: the reward model's favourite of n sampled answers
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
    "instructions": InstructionsConfig,
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

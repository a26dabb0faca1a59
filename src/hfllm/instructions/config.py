"""The keys of an `instructions` step."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig


@dataclass
class InstructionsConfig:
    """Real prompts with constraints that a program can check, for RL and as a test."""

    prompts: list[SourceConfig] = MISSING
    tests: int = 128  # prompts that go to tests.jsonl instead
    max_words: int = 40  # longer prompts are left out
    kinds: list[str] | None = None  # some of KINDS (kinds.py); default: all
    demonstrations: int | None = (
        None  # chats_train.jsonl: the prompts' own answers, made to keep constraints
    )

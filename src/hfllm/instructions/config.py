"""The keys of the `instructions` stage."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.ranges import AT_LEAST_1, NOT_NEGATIVE, within


@dataclass
class InstructionsConfig:
    """Real prompts with constraints that a program can check, for RL and as a test."""

    prompts: list[SourceConfig] = MISSING
    tests: int = within(NOT_NEGATIVE, 128)  # prompts that are held out, in tests.jsonl
    max_words: int = within(AT_LEAST_1, 40)  # longer prompts are dropped
    kinds: list[str] | None = None  # some of KINDS (kinds.py); default: all
    # Chats for SFT (chats_train.jsonl): the sources' own answers, changed to satisfy constraints.
    demonstrations: int | None = within(NOT_NEGATIVE, None)

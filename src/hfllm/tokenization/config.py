"""The keys of a `tokenizer` step."""

from __future__ import annotations

from dataclasses import dataclass, field

from hfllm.recipe.config import SourceConfig


@dataclass
class TokenizerConfig:
    """Byte-level BPE with a GPT-4-style split and the chat template, as a transformers folder."""

    vocab_size: int = 4096  # entries, with the control tokens
    data: list[SourceConfig] = field(default_factory=lambda: [SourceConfig(step="curate")])
    max_mb: float = 50.0  # text to train on
    digits: int = 3  # longest run of digits in one token (1 helps arithmetic in small models)

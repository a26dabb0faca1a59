"""The keys of a `tokenizer` step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hfllm.recipe.config import SourceConfig
from hfllm.tokenization.chat_template import SPECIAL_TOKENS

BYTES = 256


@dataclass
class TokenizerConfig:
    """Byte-level BPE with a GPT-4-style split and the chat template, as a transformers folder."""

    vocab_size: int = 4096  # entries, with the control tokens
    data: list[SourceConfig] = field(default_factory=lambda: [SourceConfig(step="curate")])
    max_mb: float = 50.0  # text to train on
    digits: int = 3  # longest run of digits in one token (1 helps arithmetic in small models)


def config_problems(config: TokenizerConfig) -> Iterator[str]:
    """Values that no tokenizer can be trained with, as lines `key: what is wrong; what to do`."""
    least = BYTES + len(SPECIAL_TOKENS)
    if config.vocab_size < least:
        yield (
            f"vocab_size: {config.vocab_size} is below {least} ({BYTES} bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens); 4096 suits a small model"
        )
    if config.digits < 1:
        yield f"digits: {config.digits} is below 1 (1 to 3 are usual)"
    if not config.max_mb > 0:
        yield f"max_mb: {config.max_mb} leaves no text to train on"

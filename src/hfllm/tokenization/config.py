"""The keys of a `tokenizer` step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hfllm.recipe.config import SourceConfig
from hfllm.recipe.ranges import ABOVE_0, AT_LEAST_1, within
from hfllm.tokenization.chat_template import SPECIAL_TOKENS

BYTES = 256


@dataclass
class TokenizerConfig:
    """Byte-level BPE with a GPT-4-style split and the chat template, as a transformers folder."""

    vocab_size: int = 4096  # entries, with the control tokens
    data: list[SourceConfig] = field(default_factory=lambda: [SourceConfig(step="curate")])
    max_mb: float = within(ABOVE_0, 50.0)  # text to train on
    # longest run of digits in one token (1 helps arithmetic in small models)
    digits: int = within(AT_LEAST_1, 3)


def config_problems(config: TokenizerConfig) -> Iterator[str]:
    """Values that no tokenizer can be trained with, as lines `key: what is wrong; what to do`."""
    least = BYTES + len(SPECIAL_TOKENS)
    if config.vocab_size < least:
        yield (
            f"vocab_size: {config.vocab_size} is below {least} ({BYTES} bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens); 4096 suits a small model"
        )

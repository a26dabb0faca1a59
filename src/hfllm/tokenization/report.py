"""Bytes per token: the figure to compare tokenizers by.

A higher one means fewer tokens for the same text, so a shorter context and cheaper training. It
depends on the text, so it is given by source, and on held-out text where there is some: a tokenizer
flatters what it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_text


def bytes_per_token(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> float:
    """UTF-8 bytes of the texts / tokens that they become (without BOS and EOS)."""
    size = tokens = 0
    for text in texts:
        size += len(text.encode())
        tokens += len(encode_text(tokenizer, text))
    if not tokens:
        raise ValueError("bytes_per_token: no text to measure on")
    return size / tokens

"""Bytes per token, the compression ratio by which tokenizers are compared.

A higher ratio means fewer tokens for the same text: shorter contexts and cheaper training. It
depends on the text, so it is reported per source, and on held-out text where there is some, because
it is too high on the tokenizer's own training text.
"""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_text


def bytes_per_token(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> float:
    """UTF-8 bytes of the texts / their tokens (no BOS or EOS); ValueError without any text."""
    size = tokens = 0
    for text in texts:
        size += len(text.encode())
        tokens += len(encode_text(tokenizer, text))
    if not tokens:
        raise ValueError("bytes_per_token: no text to measure on")
    return size / tokens

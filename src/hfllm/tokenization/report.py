"""What a tokenizer does to text: bytes per token by source, and what its vocabulary holds.

Bytes per token is the figure to compare tokenizers by: a higher one means fewer tokens for the same
text, so a shorter context and cheaper training. It depends on the text, so it is given by source,
and on held-out text where there is some: a tokenizer flatters what it was trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_stream, encode_text
from hfllm.tokenization.show import token_bytes


def bytes_per_token(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> float:
    """UTF-8 bytes of the texts / tokens that they become (without BOS and EOS)."""
    size = tokens = 0
    for text in texts:
        size += len(text.encode())
        tokens += len(encode_text(tokenizer, text))
    if not tokens:
        raise ValueError("bytes_per_token: no text to measure on")
    return size / tokens


def vocabulary_summary(tokenizer: PreTrainedTokenizerBase, longest: int = 10) -> dict[str, Any]:
    """Entries, control tokens, entries by their length in bytes, and the longest entries."""
    vocabulary = tokenizer.get_vocab()
    added = set(tokenizer.added_tokens_decoder)
    pieces = {i: token_bytes(token) for token, i in vocabulary.items() if i not in added}
    lengths = Counter(map(len, pieces.values()))
    by_length = sorted(pieces.values(), key=lambda piece: (-len(piece), piece))
    return {
        "entries": len(vocabulary),
        "control_tokens": [str(tokenizer.added_tokens_decoder[i]) for i in sorted(added)],
        "entries_by_bytes": dict(sorted(lengths.items())),
        "mean_bytes": round(sum(map(len, pieces.values())) / max(1, len(pieces)), 3),
        "longest": [piece.decode(errors="replace") for piece in by_length[:longest]],
    }


def tokenizer_report(
    tokenizer: PreTrainedTokenizerBase, texts_by_source: Mapping[str, Iterable[str]]
) -> dict[str, Any]:
    """Bytes per token, tokens and the share of the vocabulary in use, by source and in all."""
    used: set[int] = set()
    sources: dict[str, dict[str, float]] = {}
    total = Counter[str]()
    for source, texts in texts_by_source.items():
        kept = list(texts)
        count = Counter(bytes=sum(len(text.encode()) for text in kept))
        for ids in encode_stream(tokenizer, kept):
            used.update(ids)
            count["tokens"] += len(ids)
        sources[source] = _row(count)
        total += count
    summary = vocabulary_summary(tokenizer)
    ordinary = summary["entries"] - len(summary["control_tokens"])
    return {
        "sources": sources,
        **_row(total),
        "vocabulary_used": round(len(used) / max(1, ordinary), 4),
        "vocabulary": summary,
    }


def _row(count: Counter[str]) -> dict[str, float]:
    ratio = count["bytes"] / count["tokens"] if count["tokens"] else 0.0
    return {
        "bytes": count["bytes"],
        "tokens": count["tokens"],
        "bytes_per_token": round(ratio, 4),
    }

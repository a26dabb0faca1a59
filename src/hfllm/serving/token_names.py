"""Tokens as OpenAI's log-probabilities name them: text, and the bytes of it.

A token may be part of a character: then its text holds a replacement character, and its bytes are
what a client joins.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from hfllm.serving.rows import TokenScore
from hfllm.tokenization.show import token_bytes


class TokenNames:
    """Names of a tokenizer's tokens, each looked up once.

    Args:
        tokenizer: the model's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self.byte_level = "ByteLevel" in str(getattr(backend, "decoder", ""))
        self.added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        self.known: dict[int, bytes] = {}

    def bytes_of(self, token: int) -> bytes:
        """The UTF-8 bytes of a token; of a row of the embedding without a token, none."""
        if token not in self.known:
            self.known[token] = self._look_up(token)
        return self.known[token]

    def _look_up(self, token: int) -> bytes:
        if token in self.added:
            return self.added[token].encode()
        name = str(self.tokenizer.convert_ids_to_tokens(token) or "")
        if self.byte_level or name.startswith("<0x"):
            return token_bytes(name)
        return name.replace("\u2581", " ").encode()  # how SentencePiece writes a space

    def named(self, token: int, logprob: float) -> dict[str, Any]:
        """A token with its log-probability, as JSON."""
        raw = self.bytes_of(token)
        return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}

    def entry(self, score: TokenScore) -> dict[str, Any]:
        """A generated token with the likeliest ones in its place, as JSON."""
        top = [self.named(token, logprob) for token, logprob in score.top]
        return {**self.named(score.token, score.logprob), "top_logprobs": top}

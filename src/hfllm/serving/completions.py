"""Pieces of answers -> the JSON of a chat completion, whole or as chunks of a stream.

The shapes are OpenAI's `chat.completion` and `chat.completion.chunk`. `usage` counts the tokens
that were generated, the end of the turn among them; `logprobs` leaves that one out, as the text
does.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfllm.serving.rows import Piece
from hfllm.serving.token_names import TokenNames


@dataclass
class Completion:
    """One request's answers as they come.

    Args:
        model: its name.
        prompt_tokens: of the prompt, counted once.
        answers: how many there will be.
        names: for log-probabilities; None: none were asked for.
    """

    model: str
    prompt_tokens: int
    answers: int
    names: TokenNames | None
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    pieces: list[Piece] = field(default_factory=list)

    def take(self, piece: Piece) -> None:
        """Add a piece."""
        self.pieces.append(piece)

    @property
    def is_whole(self) -> bool:
        """Whether every answer has ended."""
        return sum(bool(piece.finish) for piece in self.pieces) == self.answers

    def usage(self) -> dict[str, int]:
        """Tokens of the prompt and of all answers."""
        last = {piece.index: piece.tokens for piece in self.pieces}
        generated = sum(last.values())
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self.prompt_tokens + generated,
        }

    def whole(self) -> dict[str, Any]:
        """The answers in one object."""
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(i) for i in range(self.answers)],
            "usage": self.usage(),
        }

    def _choice(self, index: int) -> dict[str, Any]:
        pieces = [piece for piece in self.pieces if piece.index == index]
        text = "".join(piece.text for piece in pieces)
        return {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._logprobs(pieces),
            "finish_reason": pieces[-1].finish,
        }

    def _logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        if self.names is None:
            return None
        scores = [score for piece in pieces for score in piece.scores]
        return {"content": [self.names.entry(score) for score in scores], "refusal": None}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def first_chunks(self) -> Iterator[dict[str, Any]]:
        """Who speaks, for each answer."""
        for i in range(self.answers):
            yield self._chunk(i, {"role": "assistant", "content": ""})

    def chunks(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """What a piece adds, and its end."""
        if piece.text or piece.scores:
            yield self._chunk(piece.index, {"content": piece.text}, self._logprobs([piece]))
        if piece.finish:
            yield self._chunk(piece.index, {}, finish=piece.finish)

    def usage_chunk(self) -> dict[str, Any]:
        """The last chunk, where usage was asked for."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(data)}\n\n".encode()


END_OF_STREAM = b"data: [DONE]\n\n"

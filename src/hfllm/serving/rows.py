"""One answer being generated: what was asked, what has been said, and where its pieces go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from hfllm.inference.sampling import Sampling
from hfllm.serving.text import TextStream

FLOOR = -9999.0  # log-probability of a token that cannot come: JSON has no infinity


@dataclass(frozen=True)
class TokenScore:
    """Log-probability of a generated token, and the likeliest tokens in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # (token, log-probability), likeliest first


@dataclass(frozen=True)
class Piece:
    """What is new of an answer."""

    index: int  # of the answer in its request
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    finish: str = ""  # "stop", "length"; "late" and "failed" are errors
    tokens: int = 0  # generated so far, the stop token included


@dataclass
class Row:
    """One answer of a request.

    Args:
        index: of the answer in its request.
        prompt: token ids.
        most: upper bound of its tokens.
        sampling: how tokens are drawn.
        random: its random numbers, on the CPU.
        text: what its tokens say.
        top_logprobs: likeliest tokens told beside each token; None: no log-probabilities.
        deadline: of time.monotonic(); by then the answer ends as it is.
        send: takes each piece; called in the engine's thread.
    """

    index: int
    prompt: list[int]
    most: int
    sampling: Sampling
    random: torch.Generator
    text: TextStream
    top_logprobs: int | None
    deadline: float
    send: Callable[[Piece], None]
    tokens: int = 0
    ended: bool = False
    finish: str = ""  # why, where it was told
    cancelled: bool = False  # set by the server's thread: nobody reads the answer any more
    unsent: list[TokenScore] = field(default_factory=list)

    def take(self, token: int, is_stop: bool, score: TokenScore | None) -> None:
        """Take the next token; send what is sure; end where a stop or a limit says so."""
        if self.ended:
            return
        self.tokens += 1
        if self.cancelled:
            self.ended = True
        elif is_stop:
            self.end("stop")
        else:
            self._say(token, score)

    def _say(self, token: int, score: TokenScore | None) -> None:
        if score is not None:
            self.unsent.append(score)
        said = self.text.push(token)
        if self.text.stopped:
            self.end("stop", said)
        elif self.tokens >= self.most or time.monotonic() > self.deadline:
            self.end("length", said)
        elif said:
            self._send(said)

    def end(self, finish: str, said: str = "") -> None:
        """Send the rest, and why it ends."""
        rest = self.text.finish()
        self.ended = True
        self.finish = "stop" if self.text.stopped and finish == "length" else finish
        self._send(said + rest, self.finish)

    def _send(self, text: str, finish: str = "") -> None:
        scores, self.unsent = tuple(self.unsent), []
        self.send(Piece(self.index, text, scores, finish, self.tokens))


def scores_of(
    logits: torch.Tensor, token: torch.Tensor, rows: Sequence[Row]
) -> list[TokenScore | None]:
    """The score of each row's token, None where none was asked for.

    Args:
        logits: (B, V): the model's own, before temperature.
        token: (B).
        rows: B of them.
    """
    asked = [i for i, row in enumerate(rows) if row.top_logprobs is not None and not row.ended]
    found: list[TokenScore | None] = [None] * len(rows)
    if not asked:
        return found
    scores = logits[asked].float().log_softmax(-1).clamp(min=FLOOR)  # (A, V)
    own = scores.gather(1, token[asked][:, None]).squeeze(1).tolist()
    most = max(rows[i].top_logprobs or 0 for i in asked)
    values, ids = (x.tolist() for x in scores.topk(most, dim=-1))
    for place, i in enumerate(asked):
        few = rows[i].top_logprobs or 0
        top = zip(ids[place][:few], values[place][:few], strict=True)
        found[i] = TokenScore(int(token[i]), own[place], tuple(top))
    return found

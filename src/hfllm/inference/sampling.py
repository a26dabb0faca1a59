"""Sample one token for each row of a batch, each row with settings and a random stream of its own.

A row's draw depends on its own logits and its own random number alone, not on the rows beside it:
with a seed an answer is the same whoever else is served at the time.

In the order of transformers' `generate`: temperature, top_k, top_p, min_p. A row is sorted only
where one of the last three is set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

GREEDY_BELOW = 1e-4  # smaller temperatures would overflow, and choose the first token anyway


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; a temperature of 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    min_p: float = 0.0
    frequency_penalty: float = 0.0  # for each time that the answer has said a token
    presence_penalty: float = 0.0  # once, if the answer has said it
    repetition_penalty: float = 1.0  # of `Generator.stream`; for tokens of the prompt too

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < GREEDY_BELOW

    @property
    def leaves_out(self) -> bool:
        """Whether unlikely tokens cannot be drawn."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0


def penalised(
    logits: torch.Tensor, settings: Sequence[Sampling], said: Sequence[Sequence[int]]
) -> torch.Tensor:
    """The logits (B, V) less the penalties of the tokens that each row's answer has said.

    As in OpenAI's API; the prompt's tokens have none. The given logits stay as they are.
    """
    out = logits
    for i, (setting, ids) in enumerate(zip(settings, said, strict=True)):
        if ids and (setting.frequency_penalty or setting.presence_penalty):
            out = out.clone() if out is logits else out
            token, count = torch.tensor(ids, device=out.device).unique(return_counts=True)
            penalty = count * setting.frequency_penalty + setting.presence_penalty
            out[i, token] -= penalty.to(out.dtype)
    return out


def stream(*named: object) -> torch.Generator:
    """A random stream, on the CPU, that is a function of its name alone (numbers and texts)."""
    digest = hashlib.sha256(repr(named).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def less_repeated(logits: torch.Tensor, penalty: float, seen: Sequence[int]) -> torch.Tensor:
    """The logits (1, V) with those of the seen tokens divided by the penalty, times it below 0.

    Keskar et al. 2019, arXiv:1909.05858; as transformers' RepetitionPenaltyLogitsProcessor.
    """
    if penalty == 1 or not seen:
        return logits
    ids = torch.tensor([sorted(set(seen))], device=logits.device)
    found = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(found < 0, found * penalty, found / penalty))


def choose(
    logits: torch.Tensor, settings: Sequence[Sampling], streams: Sequence[torch.Generator]
) -> torch.Tensor:
    """The next token of each row, (B).

    Args:
        logits: (B, V).
        settings: of each row.
        streams: of each row: CPU generators; a greedy row's is not read.
    """
    token = logits.argmax(-1)
    for leaves_out in (False, True):
        rows = [i for i, s in enumerate(settings) if not s.is_greedy and s.leaves_out == leaves_out]
        if rows:
            number = torch.cat([torch.rand(1, generator=streams[i]) for i in rows])
            chosen = [settings[i] for i in rows]
            token[rows] = _draw(logits[rows].float(), chosen, number.to(logits.device))
    return token


def _draw(logits: torch.Tensor, settings: Sequence[Sampling], number: torch.Tensor) -> torch.Tensor:
    """Tokens (B) at the place `number` (B), in [0, 1), of the cumulative probability."""

    def column(name: str) -> torch.Tensor:
        return torch.tensor([[getattr(s, name)] for s in settings], device=logits.device)  # (B, 1)

    chances = (logits / column("temperature")).softmax(-1)  # (B, V)
    order = None
    if settings[0].leaves_out:
        chances, order = chances.sort(-1, descending=True)
        chances = _without_unlikely(chances, column("top_k"), column("top_p"), column("min_p"))
    total = chances.double().cumsum(-1)
    place = torch.searchsorted(total, number[:, None].double() * total[:, -1:], right=True)
    last = (chances > 0).cumsum(-1).argmax(-1, keepdim=True)  # the last one that can be drawn
    place = place.minimum(last)
    return (place if order is None else order.gather(1, place)).squeeze(1)


def _without_unlikely(
    chances: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, min_p: torch.Tensor
) -> torch.Tensor:
    """Sorted chances (B, V), 0 where a limit (B, 1) leaves a token out; the first one stays."""
    rank = torch.arange(chances.shape[1], device=chances.device)
    kept = chances.where((top_k <= 0) | (rank < top_k), 0.0)
    share = kept / kept.sum(-1, keepdim=True)
    is_in = (share.cumsum(-1) - share < top_p) & (chances >= min_p * chances[:, :1])
    return kept.where(is_in | (rank == 0), 0.0)

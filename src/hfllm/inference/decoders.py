"""The way of decoding that gives a model's own tokens: tried on a few tokens, once a model.

    padded           fast_cpu/decoding.py: prompts padded on the left, one key-value cache
    by_generate      transformers' `generate`, prompts of one length together, without padding
    one_by_one       `generate`, each prompt by itself
    by_whole_rows    every row from its first token for each new one, without a cache; slow

The first that agrees with whole rows is taken. Padding and caches change what some models say: the
cache of Mamba is handed over by another name, RecurrentGemma's and MiniMax's states take in
padding, RWKV's mixes the rows of a batch, RoBERTa's positions start anew behind a cache; for xLSTM
`generate` itself fails.

Cost of the trial: some ten forward passes of at most 24 tokens. The other ways are slower, and with
`generate` answers come only when they have ended (chat does not stream).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from hfllm.fast_cpu.decoding import IsDone, NextToken, decode
from hfllm.inference.logits import batches, row_logits, vocab_size
from hfllm.inference.prompts import positions
from hfllm.modeling.batching import ScoringRequest
from hfllm.modeling.isolation import ordinary_tokens
from hfllm.recipe.errors import raise_out_of_memory

Prompts = list[list[int]]
# model, prompts, most new tokens, next_token, is_done (both as in `decode`) -> (row, token)
Way = Callable[[Any, Prompts, int, NextToken, IsDone], Iterator[tuple[int, int]]]
SHORT, LONG, NEW = 3, 8, 4  # tokens of the trial's prompts, and new ones
# Largest difference of logits, as a share of the effect of a row's first token and of the logits
# themselves (norms). Wrong states and positions differ by the whole effect.
OF_EFFECT = 0.1
ROUNDING = {torch.float32: 1e-5}
LOW_PRECISION = 0.02  # bfloat16, float16
_chosen: WeakKeyDictionary[torch.nn.Module, Way] = WeakKeyDictionary()


def way_of(model: Any) -> Way:
    """The first way that gives the model's own tokens; another than the usual is said once."""
    if model not in _chosen:
        ways = (padded, by_generate, one_by_one)
        _chosen[model] = next((way for way in ways if is_right(model, way)), by_whole_rows)
        if note := SLOWER.get(_chosen[model]):
            kind = model.config.model_type
            print(f"{kind}: padded batches give other tokens, so {note}", file=sys.stderr)
    return _chosen[model]


def padded(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """All prompts in one batch, padded on the left."""
    yield from decode(model, left_padded(model, prompts), most, next_token, is_done)


def by_generate(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """transformers' `generate`, prompts of one length at a time; yields when they have ended."""
    for length in sorted({len(p) for p in prompts}, reverse=True):
        numbers = [i for i, p in enumerate(prompts) if len(p) == length]
        loop = _Loop([(i, length) for i in numbers], next_token, is_done)
        _generate(model, loop, left_padded(model, [prompts[i] for i in numbers]), most)
        yield from loop.said


def one_by_one(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """transformers' `generate`, each prompt by itself; yields when it has ended."""
    for number, prompt in enumerate(prompts):
        loop = _Loop([(number, len(prompt))], next_token, is_done)
        _generate(model, loop, left_padded(model, [prompt]), most)
        yield from loop.said


def padded_generate(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """`generate` on all prompts, padded on the left, as TRL's trainers sample."""
    loop = _Loop([(i, len(p)) for i, p in enumerate(prompts)], next_token, is_done)
    _generate(model, loop, left_padded(model, prompts), most)
    yield from loop.said


def by_whole_rows(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """One forward pass over all tokens of the running rows for each new token."""
    ids = [list(p) for p in prompts]
    running = list(range(len(prompts)))
    for _ in range(most):
        rows = torch.tensor(running, device=model.device)
        token = next_token(rows, _next_logits(model, [ids[i] for i in running]))
        pairs = list(zip(running, token.tolist(), strict=True))
        yield from pairs
        place = torch.tensor([len(ids[i]) - 1 for i in running], device=model.device)
        done = is_done(rows, token, place).tolist()
        for i, new in pairs:
            ids[i].append(new)
        running = [i for i, ended in zip(running, done, strict=True) if not ended]
        if not running:
            return


SLOWER: dict[Way, str] = {
    by_generate: "transformers' generate is used, without padding; answers come when they end",
    one_by_one: "transformers' generate is used, prompt by prompt; answers come when they end",
    by_whole_rows: "each row is run from its first token for every new one, which is slow",
}


class _Loop:
    """`next_token` and `is_done` inside `generate`, whose greedy search takes what they choose."""

    def __init__(self, rows: list[tuple[int, int]], next_token: NextToken, is_done: IsDone) -> None:
        """Take each row's number and the tokens of its prompt."""
        self.rows, lengths = torch.tensor(rows).unbind(1)  # (B) each
        self.position = lengths - 1  # of the token before the new one
        self.next_token, self.is_done = next_token, is_done
        self.done = torch.zeros(len(rows), dtype=torch.bool)
        self.said: list[tuple[int, int]] = []

    def choose(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, V) in which only the chosen tokens are possible."""
        self.rows, self.done, self.position = (
            x.to(scores.device) for x in (self.rows, self.done, self.position)
        )
        self.token = self.next_token(self.rows, scores)
        running = ~self.done
        self.said += zip(self.rows[running].tolist(), self.token[running].tolist(), strict=True)
        return torch.full_like(scores, -torch.inf).scatter(1, self.token[:, None], 0.0)

    def stop(self, *_: Any, **__: Any) -> torch.Tensor:
        """Whether each row has ended, (B)."""
        self.done = self.done | self.is_done(self.rows, self.token, self.position)
        self.position = self.position + (~self.done).long()  # as in `decode`
        return self.done


def _generate(model: Any, loop: _Loop, rows: tuple[torch.Tensor, torch.Tensor], most: int) -> None:
    """Run `generate` on ids and mask, (B, P) each, without the settings of the model's folder."""
    kept = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=most, do_sample=False, pad_token_id=_pad_id(model)
    )
    try:
        model.generate(
            input_ids=rows[0],
            attention_mask=rows[1],
            logits_processor=LogitsProcessorList([loop.choose]),
            stopping_criteria=StoppingCriteriaList([loop.stop]),
        )
    finally:
        model.generation_config = kept


def left_padded(model: Any, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as ids and mask, (B, P) each, on the model's device."""
    width, pad = max(map(len, prompts)), _pad_id(model)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])  # (B, P)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])  # (B, P)
    return ids.to(model.device), mask.to(model.device)


def _pad_id(model: Any) -> int:
    """The config's padding token; 0 where it has none of the vocabulary (Llama's -1)."""
    pad = getattr(model.config.get_text_config(), "pad_token_id", None) or 0
    return pad if 0 <= pad < vocab_size(model) else 0


def _next_logits(model: Any, rows: Prompts) -> torch.Tensor:
    """Logits of the token after each row, (B, V)."""
    asked = [ScoringRequest([*row, 0], len(row)) for row in rows]
    found: dict[int, torch.Tensor] = {}
    for batch in batches(asked, vocab_size(model)):
        found |= zip(batch, row_logits(model, [asked[i] for i in batch]), strict=True)
    return torch.cat([found[i] for i in range(len(rows))])


@torch.inference_mode()
def is_right(model: Any, way: Way) -> bool:
    """Whether a way gives the logits of whole rows, on three rows of which one stops early.

    Args:
        model: a causal LM in eval mode.
        way: one of this module's.
    """
    if positions(model) < LONG + NEW + 2:
        return True  # too short for the trial
    ids = ordinary_tokens(model.config, LONG + SHORT + NEW).tolist()
    long = ids[SHORT : SHORT + LONG]
    prompts, forced = [ids[:SHORT], long, long[::-1]], ids[-NEW:]
    seen: list[list[torch.Tensor]] = [[] for _ in prompts]

    def next_token(rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        for row, line in zip(rows.tolist(), logits, strict=True):
            seen[row].append(line.float())
        return torch.tensor([forced[len(seen[r]) - 1] for r in rows.tolist()], device=rows.device)

    def is_done(rows: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return (rows == 0) & (len(seen[0]) >= NEW // 2)

    try:
        said = list(way(model, prompts, NEW, next_token, is_done))
    except Exception as error:  # noqa: BLE001 - however it fails, another way is taken
        raise_out_of_memory(error)
        return False
    counts = [sum(row == n for row, _ in said) for n in range(len(prompts))]
    return counts == [NEW // 2, NEW, NEW] and all(
        _same_logits(model, prompt + forced[: count - 1], torch.stack(lines[:count]))
        for prompt, lines, count in zip(prompts, seen, counts, strict=True)
    )


def _same_logits(model: Any, row: list[int], found: torch.Tensor) -> bool:
    """Whether `found`, (K, V), are the last K logits of a row run as a whole."""
    both = [torch.tensor([ids], device=model.device) for ids in (row, [row[1], *row[1:]])]
    whole, changed = (
        model(input_ids=ids, use_cache=False).logits[0, -len(found) :].float() for ids in both
    )
    apart, effect = float((found - whole).norm()), float((changed - whole).norm())
    rounding = ROUNDING.get(model.dtype, LOW_PRECISION) * float(whole.norm())
    return apart <= OF_EFFECT * effect + rounding

"""The decoding loop: one forward over the prompts, then one per token; rows that end leave it.

`model.generate` goes on computing a row that has ended until the longest is done. Here it leaves
the batch and its key-value cache. `without_ended_rows` puts this loop into `generate` by the
library's own hook, so that its settings of sampling stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import GenerationMode

from hfllm.fast_cpu.shared_prefix import cache_name

PLAIN_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
PLAIN_MODES = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Over = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def decode(
    model: Any,
    prompts: tuple[torch.Tensor, torch.Tensor],
    max_new_tokens: int,
    choose: Choose,
    over: Over,
) -> Iterator[tuple[int, int]]:
    """Yield (row, token) for each new token of each row, the last one too.

    A row that has ended leaves the batch; where the model remembers more than keys and values
    (LFM2's convolutions) it runs on unseen.

    Args:
        model: a causal LM with a key-value cache, in eval mode.
        prompts: token ids padded on the left, (B, P), and the mask of what is no padding.
        max_new_tokens: at most as many of each row.
        choose: numbers of the rows that run (B') and their next token's logits (B', V) -> tokens
            (B').
        over: their numbers, their new tokens, and the place in its row of the token before (B'
            each) -> whether a row is done (B').
    """
    new, mask = prompts
    forward = _Forward(model)
    can_leave = has_plain_layers(forward.cache)
    rows = torch.arange(len(new), device=new.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    position = (mask.cumsum(1) - 1).clamp(min=0)  # (B, P)
    for _ in range(max_new_tokens):
        token = choose(rows, forward(new, mask, position))  # (B',)
        yield from zip(rows[running].tolist(), token[running].tolist(), strict=True)
        running = running & ~over(rows, token, position[:, -1])
        if not running.any():
            return
        if can_leave and not running.all():
            forward.cache.batch_select_indices(running.nonzero().squeeze(1))
            rows, token, mask, position = (x[running] for x in (rows, token, mask, position))
            running = running[running]
        new, position = token[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)


def has_plain_layers(cache: DynamicCache) -> bool:
    """Whether a row can be taken out: keys and values alone, no state of a convolution."""
    return all(type(layer) in PLAIN_LAYERS for layer in cache.layers)


class _Forward:
    """Logits of each row's next token, (B, V), by what the model's forward takes."""

    def __init__(self, model: Any) -> None:
        accepted = inspect.signature(model.forward).parameters
        self.model = model
        self.cache = DynamicCache(config=model.config)
        self.given = {cache_name(model): self.cache, "use_cache": True}
        if "logits_to_keep" in accepted:
            self.given["logits_to_keep"] = 1
        self.takes_positions = "position_ids" in accepted

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor
    ) -> torch.Tensor:
        place = {"position_ids": position} if self.takes_positions else {}
        out = self.model(input_ids=ids, attention_mask=mask, **self.given, **place)
        return out.logits[:, -1]


def without_ended_rows(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **model_kwargs: Any,
) -> torch.Tensor:
    """For `model.generate(..., custom_generate=without_ended_rows)`: prompts and what follows.

    Greedy or sampled, (B, P + T); rows that have ended are padded behind. Logits processors and
    stopping criteria are the ones that `generate` prepared; they see the whole batch, for some
    (the repetition penalty) know its prompts. Ids and mask are all that it passes on: of no use to
    images, beam search, a chosen cache, or a model that remembers more than keys and values.
    """
    mask = model_kwargs.get("attention_mask")  # None: nothing is padded
    mask = torch.ones_like(input_ids) if mask is None else mask
    whole = input_ids  # (B, S)
    pad = generation_config.pad_token_id or 0

    def choose(rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        nonlocal whole
        scores = logits.new_zeros((len(whole), logits.size(1)), dtype=torch.float32)
        scores[rows] = logits.float()
        scores = logits_processor(whole, scores)[rows]
        if generation_config.do_sample:
            token = torch.multinomial(scores.softmax(-1), 1).squeeze(1)
        else:
            token = scores.argmax(-1)
        column = whole.new_full((len(whole), 1), pad)
        column[rows, 0] = token
        whole = torch.cat([whole, column], dim=1)
        return token

    def over(rows: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return stopping_criteria(whole, None)[rows]

    most = generation_config.max_length - input_ids.size(1)
    for _ in decode(model, (input_ids, mask), most, choose, over):
        pass
    return whole


def rows_can_leave(model: Any) -> bool:
    """Whether the model runs on keys and values row by row, and `generate` does nothing more."""
    return (
        not model._is_stateful
        and cache_name(model) in inspect.signature(model.forward).parameters
        and has_plain_layers(DynamicCache(config=model.config))
        and type(model).prepare_inputs_for_generation
        is GenerationMixin.prepare_inputs_for_generation
    )


def only_samples_texts(generation_config: Any, inputs: dict[str, Any]) -> bool:
    """Whether `without_ended_rows` does all that `generate` is asked for."""
    return (
        set(inputs) <= {"input_ids", "attention_mask"}
        and generation_config.get_generation_mode() in PLAIN_MODES
        and generation_config.cache_implementation in (None, "dynamic")
        and not generation_config.prefill_chunk_size
    )

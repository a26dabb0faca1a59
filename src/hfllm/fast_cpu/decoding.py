"""Batched decoding in which a row that has stopped leaves the batch and the key-value cache.

In order: one forward over the left-padded prompts (B, P), then per step a token for each running
row, the stop test, the rows that have stopped taken out of ids, mask and cache, and one forward of
the others. transformers' `generate` computes a stopped row until the longest one stops.

`decode` is the loop, for inference/generate.py. `without_ended_rows` puts it into `generate` by the
library's hook `custom_generate`, so that logits processors, stopping criteria and sampling settings
stay the library's; rl/rollout_policy.py uses that where `rows_can_leave` and `only_samples_texts`.

Greedy tokens are those of the plain loop; sampled ones are other draws from the same distributions,
because a draw depends on how many rows are drawn together. With HFLLM_SLOW=decoding rows stay in
the batch, and `generate` runs its own loop. Gain: 16% of the time for answers of 34 of at most 64
tokens (a step over fewer rows still reads all weights; docs/log.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import GenerationMode

from hfllm.fast_cpu import is_on
from hfllm.fast_cpu.shared_prefix import cache_name

KEY_VALUE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
SUPPORTED_MODES = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
NextToken = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
IsDone = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def decode(
    model: Any,
    prompts: tuple[torch.Tensor, torch.Tensor],
    max_new_tokens: int,
    next_token: NextToken,
    is_done: IsDone,
) -> Iterator[tuple[int, int]]:
    """Yield (row, token) for each new token of each row, the stop token included.

    Where rows cannot leave (the switch is off, or the cache holds more than keys and values, as for
    LFM2's convolutions), stopped rows are computed on and their tokens discarded.

    Args:
        model: a causal LM with a key-value cache, in eval mode.
        prompts: token ids, padded on the left, and their attention mask, (B, P) each.
        max_new_tokens: upper bound for each row.
        next_token: indices of the rows in the batch (B') and the logits of their next token (B', V)
            -> their tokens (B').
        is_done: indices of the rows, their new tokens, and the position of the token before it,
            counted without padding, (B') each -> whether a row has stopped (B').
    """
    new, mask = prompts
    forward = Forward(model)
    can_leave = _can_drop_rows(forward.cache)
    rows = torch.arange(len(new), device=new.device)
    running = torch.ones_like(rows, dtype=torch.bool)
    position = (mask.cumsum(1) - 1).clamp(min=0)  # (B, P)
    for _ in range(max_new_tokens):
        token = next_token(rows, forward(new, mask, position))  # (B',)
        yield from zip(rows[running].tolist(), token[running].tolist(), strict=True)
        running = running & ~is_done(rows, token, position[:, -1])
        if not running.any():
            return
        if can_leave and not running.all():
            forward.cache.batch_select_indices(running.nonzero().squeeze(1))
            rows, token, mask, position = (x[running] for x in (rows, token, mask, position))
            running = running[running]
        # A stopped row keeps its position: it may have been the model's last.
        new, position = token[:, None], position[:, -1:] + running[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)


def _can_drop_rows(cache: DynamicCache) -> bool:
    """Whether rows may leave the cache: the switch is on, and it holds keys and values alone."""
    return is_on("decoding") and all(type(layer) in KEY_VALUE_LAYERS for layer in cache.layers)


class Forward:
    """Logits of each row's next token, (B, V), with the arguments that the model's forward takes.

    The cache is filled call by call.
    """

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
        """Run new tokens (B, N), under the mask of all tokens so far, (B, S)."""
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
    """The decoding loop for `model.generate(..., custom_generate=without_ended_rows)`.

    Greedy search and sampling of text; `rows_can_leave` and `only_samples_texts` say where it does
    all that `generate` would (no images, no beams, no cache of another kind).

    Args:
        model: a causal LM.
        input_ids: prompts, padded on the left, (B, P).
        logits_processor: what `generate` prepared; shown the whole batch, stopped rows too, because
            some processors (repetition penalty) keep the prompts of every row.
        stopping_criteria: what `generate` prepared; shown the whole batch.
        generation_config: with max_length, do_sample and pad_token_id filled in.
        model_kwargs: `attention_mask` (B, P) is read; without one nothing is padded.

    Returns:
        Prompts and completions, (B, P + T), padded on the right after the stop token.
    """
    mask = model_kwargs.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask
    whole = input_ids  # (B, S)
    pad = generation_config.pad_token_id or 0

    def next_token(rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        nonlocal whole
        scores = logits.new_zeros((len(whole), logits.size(1)), dtype=torch.float32)  # (B, V)
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

    def is_done(rows: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return stopping_criteria(whole, None)[rows]

    max_new_tokens = generation_config.max_length - input_ids.size(1)
    for _ in decode(model, (input_ids, mask), max_new_tokens, next_token, is_done):
        pass
    return whole


def rows_can_leave(model: Any) -> bool:
    """Whether `without_ended_rows` may decode for this model: stateless, a plain key-value cache.

    False where the switch is off, and where the model prepares its inputs in a way of its own.
    """
    return (
        not model._is_stateful
        and cache_name(model) in inspect.signature(model.forward).parameters
        and _can_drop_rows(DynamicCache(config=model.config))
        and type(model).prepare_inputs_for_generation
        is GenerationMixin.prepare_inputs_for_generation
    )


def only_samples_texts(generation_config: Any, inputs: dict[str, Any]) -> bool:
    """Whether a call of `generate` asks for no more than `without_ended_rows` does."""
    return (
        set(inputs) <= {"input_ids", "attention_mask"}
        and generation_config.get_generation_mode() in SUPPORTED_MODES
        and generation_config.cache_implementation in (None, "dynamic")
        and not generation_config.prefill_chunk_size
    )

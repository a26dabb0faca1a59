"""Continuous batching: rows that decode together, which others join and leave between two steps.

    running = RunningRows(model)
    logits = running.join([prompt])     # (1, V): of the first new token
    logits = running.step(token)        # (B, V): of the next token of every row
    running.keep(rows)                  # the others leave

A prompt that joins is run by itself (prefill); then its keys and values are put under those of the
running rows, and the shorter ones padded on the left. Columns that are padding in every row are
cut off again. Position ids count from a row's first token, so that padding changes no answer.

Not every model's cache can be taken apart so: `rows_can_join` tries it (inference/decoders.py).
Cost: a copy of the cache when rows join or leave; a row that joins holds the others up for its
prefill.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers.cache_utils import DynamicSlidingWindowLayer

from hfllm.fast_cpu.decoding import KEY_VALUE_LAYERS, Forward, IsDone, NextToken
from hfllm.inference.decoders import Prompts, is_right, left_padded


class RunningRows:
    """B rows in one key-value cache, padded on the left; empty at first.

    Args:
        model: a causal LM in eval mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._clear()

    def _clear(self) -> None:
        self.forward = Forward(self.model)
        self.mask = torch.zeros((0, 0), dtype=torch.long, device=self.model.device)  # (B, S)
        self.position = self.mask.sum(1)  # (B): of the last token that was run

    def __len__(self) -> int:
        """B."""
        return len(self.mask)

    @torch.inference_mode()
    def step(self, token: torch.Tensor) -> torch.Tensor:
        """Run one more token of each row, (B); returns the logits of the next, (B, V)."""
        self.position = self.position + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self), 1)], dim=1)
        return self.forward(token[:, None], self.mask, self.position[:, None])

    @torch.inference_mode()
    def join(self, prompts: Prompts) -> torch.Tensor:
        """Run K prompts and put them under the rows; returns their logits, (K, V).

        Raises:
            ValueError: the model's cache holds more than keys and values.
        """
        new = Forward(self.model)
        ids, mask = left_padded(self.model, prompts)  # (K, P)
        position = (mask.cumsum(1) - 1).clamp(min=0)
        logits = new(ids, mask, position)
        if any(type(layer) not in KEY_VALUE_LAYERS for layer in new.cache.layers):
            raise ValueError(f"{self.model.config.model_type}: its cache cannot be joined")
        if not len(self):
            self.forward, self.mask, self.position = new, mask, position[:, -1]
            return logits
        width = max(self.mask.shape[1], mask.shape[1])
        for old, fresh in zip(_layers(self.forward), _layers(new), strict=True):
            columns = _columns(old, width)
            old.keys = _under(old.keys, fresh.keys, columns)
            old.values = _under(old.values, fresh.values, columns)
        self.mask = torch.cat([_widen(self.mask, width, 1), _widen(mask, width, 1)])
        self.position = torch.cat([self.position, position[:, -1]])
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        """Keep the rows of these indices, in this order; the others leave."""
        if not len(rows):
            self._clear()
            return
        if len(rows) == len(self):
            return
        self.forward.cache.batch_select_indices(rows)
        self.mask, self.position = self.mask[rows], self.position[rows]
        spare = int((self.mask.cumsum(1).amax(0) == 0).sum())  # columns that only pad
        if spare:
            self.mask = self.mask[:, spare:]
            for layer in _layers(self.forward):
                columns = _columns(layer, self.mask.shape[1])
                layer.keys = layer.keys[:, :, -columns:]
                layer.values = layer.values[:, :, -columns:]


def _layers(forward: Forward) -> list[Any]:
    """The cache's layers that hold something: some share another's."""
    layers: list[Any] = forward.cache.layers
    return [layer for layer in layers if layer.is_initialized]


def _columns(layer: Any, width: int) -> int:
    """How many of the last `width` columns a layer holds; one with a window is told of all."""
    if not isinstance(layer, DynamicSlidingWindowLayer):
        return width
    layer.cumulative_length = width
    return min(width, layer.sliding_window - 1)


def _under(above: torch.Tensor, below: torch.Tensor, width: int) -> torch.Tensor:
    """Keys or values (B, H, S, D) over (K, H, P, D), both widened to S = `width`."""
    return torch.cat([_widen(above, width, 2), _widen(below, width, 2)])


def _widen(x: torch.Tensor, width: int, dim: int) -> torch.Tensor:
    """`x` with zeros before it along `dim`, up to `width`."""
    shape = list(x.shape)
    shape[dim] = width - shape[dim]
    return torch.cat([x.new_zeros(shape), x], dim=dim) if shape[dim] else x


def joined(
    model: Any, prompts: Prompts, most: int, next_token: NextToken, is_done: IsDone
) -> Iterator[tuple[int, int]]:
    """A way of decoding (inference/decoders.py) in which each prompt joins a step after the last.

    Args:
        model: a causal LM in eval mode.
        prompts: token ids.
        most: upper bound of new tokens of each row.
        next_token: as in `decode`.
        is_done: as in `decode`.
    """
    running, rows, waiting = RunningRows(model), torch.zeros(0, dtype=torch.long), [*prompts]
    count, token = [0] * len(prompts), rows
    while waiting or len(rows):
        parts = [running.step(token)] if len(rows) else []
        if waiting:
            parts.append(running.join([waiting.pop(0)]))
            rows = torch.cat([rows, rows.new_tensor([len(prompts) - len(waiting) - 1])])
        token = next_token(rows.to(model.device), torch.cat(parts))
        yield from zip(rows.tolist(), token.tolist(), strict=True)
        for row in rows.tolist():
            count[row] += 1
        full = torch.tensor([count[row] >= most for row in rows.tolist()])
        done = is_done(rows.to(model.device), token, running.position).cpu() | full
        stay = (~done).nonzero().squeeze(1)
        running.keep(stay.to(model.device))
        rows, token = rows[stay], token[stay.to(model.device)]


def rows_can_join(model: Any) -> bool:
    """Whether rows that join and leave give the logits of whole rows; tried on a few tokens."""
    return is_right(model, joined)

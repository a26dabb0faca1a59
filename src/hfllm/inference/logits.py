"""Logits of scored tokens: rows of token ids -> one forward pass -> (K, V) logits for each row.

Rows are sorted by length and padded on the right; under a causal mask padding does not reach the
tokens before it, so no attention mask is needed. The head is applied to the scored positions only
(fast_cpu/trained_head.py), and on a CPU a prefix that all rows of a batch share is run once
(fast_cpu/shared_prefix.py).

A batch is bounded by the memory of its logits (scored tokens x vocabulary), which runs out first,
and in tokens, padding included; a row beyond either bound is a batch of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from hfllm.fast_cpu.shared_prefix import last_hidden
from hfllm.fast_cpu.trained_head import may_score_positions
from hfllm.modeling.batching import MAX_BATCH_TOKENS, ScoringRequest, long_first

MAX_LOGITS = 2**25  # float32 values per batch: 128 MB


def vocab_size(model: PreTrainedModel) -> int:
    """V: rows of the output embedding, unused ones included."""
    return int(model.get_output_embeddings().weight.shape[0])


def batches(rows: Sequence[ScoringRequest], vocab: int) -> Iterator[list[int]]:
    """Indices of rows in batches of at most MAX_LOGITS logits and MAX_BATCH_TOKENS tokens.

    Longest first; a row beyond either bound is a batch of its own.
    """

    def fits(batch: list[int]) -> bool:
        scored = sum(len(rows[i].ids) - rows[i].start for i in batch)
        tokens = len(batch) * len(rows[batch[0]].ids)
        return scored * vocab <= MAX_LOGITS and tokens <= MAX_BATCH_TOKENS

    return long_first([len(row.ids) for row in rows], fits)


@torch.inference_mode()
def row_logits(model: PreTrainedModel, rows: Sequence[ScoringRequest]) -> list[torch.Tensor]:
    """Logits that predict the K scored tokens of each row, (K, V) each, from one forward pass.

    Not by transformers' logits_to_keep, which keeps the same positions of all rows and multiplies
    that slice with a copy of the head's matrix for each row. A model that changes its logits after
    the head runs its own forward, a few rows at a time.
    """
    width = max(len(row.ids) for row in rows)
    padded = torch.tensor(
        [row.ids + [0] * (width - len(row.ids)) for row in rows], device=model.device
    )
    if not may_score_positions(model):
        return _own_logits(model, padded, rows)
    first = min(row.start for row in rows) - 1  # the first column that predicts a scored token
    hidden, cut = last_hidden(model.base_model, padded, width - first)  # (B, T - cut, H)
    picked = [
        x[row.start - 1 - cut : len(row.ids) - 1 - cut] for x, row in zip(hidden, rows, strict=True)
    ]
    head: Any = model.get_output_embeddings()
    return list(head(torch.cat(picked)).split([len(part) for part in picked]))


def _own_logits(
    model: PreTrainedModel, padded: torch.Tensor, rows: Sequence[ScoringRequest]
) -> list[torch.Tensor]:
    """As `row_logits`, by the model's own forward; MAX_LOGITS bounds the rows of each call."""
    first = min(row.start for row in rows)
    kept = padded.shape[1] - first + 1  # the last one scores nothing
    takes = "logits_to_keep" in inspect.signature(model.forward).parameters
    few = {"logits_to_keep": kept} if takes else {}
    size = max(1, MAX_LOGITS // ((kept if takes else padded.shape[1]) * vocab_size(model)))
    out = []
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        logits = model(input_ids=padded[begin : begin + size], use_cache=False, **few).logits
        for line, row in zip(logits[:, -kept:], part, strict=True):
            # a copy: a view would keep the logits of all the rows
            out.append(line[row.start - first : len(row.ids) - first].clone())
    return out

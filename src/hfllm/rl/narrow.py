"""Batches without the columns that are padding in all their rows.

A rollout is padded to its longest prompt and answer; most rows are shorter. Prompts are padded on
the left, completions on the right.
"""

from collections.abc import Iterator
from typing import Any

import torch


def trim(batch: dict[str, Any]) -> dict[str, Any]:
    """A micro-batch of an update, trimmed."""
    width = batch["completion_ids"].size(1)
    prompt = int(batch["prompt_mask"].sum(dim=1).max())
    completion = max(1, int(batch["completion_mask"].sum(dim=1).max()))

    def cut(key: str, x: Any) -> Any:
        if not torch.is_tensor(x) or x.dim() != 2:
            return x
        if key in ("prompt_ids", "prompt_mask"):
            return x[:, x.size(1) - prompt :]
        return x[:, :completion] if x.size(1) == width else x

    return {key: cut(key, x) for key, x in batch.items()}


def narrow_chunks(
    attention_mask: torch.Tensor, tokens: int, size: int
) -> Iterator[tuple[torch.Tensor, slice, int]]:
    """Rows of similar length together, for passes over a whole rollout.

    Args:
        attention_mask: prompt and completion, (B, P + T).
        tokens: T.
        size: rows in a chunk.

    Yields:
        row numbers (N,), the columns that some of them need, and how many of these are completion.
    """
    width = attention_mask.size(1)
    prompts = attention_mask[:, : width - tokens].sum(dim=1)  # (B,)
    completions = attention_mask[:, width - tokens :].sum(dim=1)
    for rows in (prompts + completions).argsort(stable=True).split(size):
        start = width - tokens - int(prompts[rows].max())
        kept = max(1, int(completions[rows].max()))
        yield rows, slice(start, width - tokens + kept), kept

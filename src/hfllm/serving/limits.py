"""What one server takes on: sizes of prompts and answers, how many at once, how long.

The keys and values of the rows that run must fit into memory; a row counts with its prompt and its
longest answer, and all rows are as long as the longest (they are padded). Light until `fit_to`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

CACHE_SHARE = 0.5  # of the memory that is free when the model is loaded


@dataclass(frozen=True)
class Limits:
    """Upper bounds; a request beyond the first two is refused, one beyond `queue` gets a 429."""

    prompt_tokens: int = 0  # 0: what the model's positions and the memory allow
    answer_tokens: int = 1024
    at_once: int = 64  # answers that are generated together
    queue: int = 256  # answers that wait
    seconds: float = 600.0  # for one request, waiting included
    total_tokens: int = 2**31  # prompt and answer
    cache_tokens: int = 2**40  # answers at once x tokens of the longest, prompt included
    body_bytes: int = 2**20


def fit_to(limits: Limits, model: Any) -> Limits:
    """The limits with what this model and this machine allow.

    Raises:
        ValueError: a prompt may be longer than that (one line).
    """
    from hfllm.inference.prompts import positions

    room = _cache_tokens(model)
    total = min(positions(model), room)
    if limits.prompt_tokens >= total:
        raise ValueError(
            f"--max-prompt-tokens: {limits.prompt_tokens:,} are too many; the model has "
            f"{positions(model):,} positions, and memory holds {room:,} tokens"
        )
    prompt = limits.prompt_tokens or total - 1
    return replace(
        limits,
        prompt_tokens=prompt,
        answer_tokens=min(limits.answer_tokens, total - 1),
        total_tokens=total,
        cache_tokens=room,
        body_bytes=2**20 + 32 * min(prompt, 2**20),
    )


def _cache_tokens(model: Any) -> int:
    """Tokens of which the keys and values fit into the share of the free memory."""
    import psutil
    import torch

    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1  # Mamba has none, and a state instead
    kept = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    of_token = 2 * config.num_hidden_layers * kept * width * model.dtype.itemsize  # bytes
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    return int(free * CACHE_SHARE / of_token)

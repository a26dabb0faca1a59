"""Numbers of a `model:` section that transformers takes and no model can be trained with.

transformers checks few of them: with num_hidden_layers=0 it builds a model without layers, and a
share of heads or a dropout that cannot be fails in the middle of the first pass. Here they are told
by their key, before anything runs. Keys are those of any model type; the words in their names say
what they count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hfllm.recipe.ranges import AT_LEAST_1, BELOW_1, problem_of

COUNT = re.compile(
    r"(num|n)_(hidden_|attention_|key_value_|kv_)?(layers?|heads?)|(hidden|intermediate|vocab)_size"
    r"|head_dim|n_embd|d_model|d_ff|max_position_embeddings|n_positions"
)
DROPOUT = re.compile(r".*_(dropout|pdrop|drop)(_prob|_rate)?|dropout(_rate)?")


def number_problems(values: dict[str, Any]) -> Iterator[str]:
    """One line `model.KEY: ...` for each count below 1 and each dropout outside of [0, 1)."""
    for key, value in values.items():
        for names, allowed in ((COUNT, AT_LEAST_1), (DROPOUT, BELOW_1)):
            if names.fullmatch(key) and (found := problem_of(f"model.{key}", value, allowed)):
                yield found


def heads_problem(config: Any) -> str | None:
    """One line on key-value heads that cannot share a config's attention heads evenly, or None."""
    heads, shared = (
        getattr(config, f"num_{name}_heads", None) for name in ("attention", "key_value")
    )
    if not (isinstance(heads, int) and isinstance(shared, int) and shared > 0 and heads % shared):
        return None
    fit = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
    return f"model.num_key_value_heads: {shared} do not divide {heads} attention heads; use {fit}"


def refusal(what: str, error: Exception, values: dict[str, Any]) -> ValueError:
    """What transformers says of a config or a model, as one line with the key where it is told.

    Args:
        what: what could not be made.
        error: the library's.
        values: the keys that the recipe gives.
    """
    words = " ".join(str(error).split()) or type(error).__name__
    field = re.search(r"for field '(\w+)': (?:\w+Error: )?(.+)", words)
    key = field[1] if field else next((k for k, v in values.items() if repr(v) == words), None)
    if key not in values:
        return ValueError(f"model: {what}: {words}")
    return ValueError(f"model.{key}: {what}: {field[2] if field else words}")

"""Fast paths: what only saves time on a CPU, each with a switch and a test that it changes nothing.

`HFLLM_SLOW=trained_head,unpad` (or `all`) in the environment turns the named ones off, to measure
what one saves or to find out whether one causes a difference. docs/fast-paths.md says what each
does and saves, and when it is not taken.
"""

from __future__ import annotations

import os

from hfllm.recipe.did_you_mean import did_you_mean

NAMES = (
    "decoding",  # generation: rows that have stopped leave the batch and the key-value cache
    "shared_context",  # likelihoods: a question's choices in one row, by tree attention
    "shared_prefix",  # the token prefix that all rows of a batch share is run once
    "stacked_muon",  # Muon: matrices of one shape are orthogonalised together
    "trained_head",  # SFT, rollouts, likelihoods: the head runs on the scored positions only
    "unpad",  # PPO, GRPO, RLOO: no padding between prompt and completion
)
SWITCH = "HFLLM_SLOW"
# logits that trained_head keeps for the backward pass: 512 MB in float32; more are recomputed there
HEAD_CHUNK = 2**27


def is_on(name: str) -> bool:
    """Whether the fast path `name` may be taken.

    Raises:
        ValueError: the environment variable names something that is no fast path (one line).
    """
    assert name in NAMES, name
    off = switched_off()
    return name not in off and "all" not in off


def switched_off() -> list[str]:
    """The fast paths that `HFLLM_SLOW` names, "all" included, as written there.

    Raises:
        ValueError: the environment variable names something that is no fast path (one line).
    """
    off = os.environ.get(SWITCH, "").replace(",", " ").split()
    known = (*NAMES, "all")
    if unknown := [word for word in off if word not in known]:
        raise ValueError(
            f"{SWITCH}: {unknown[0]!r} is no fast path; name some of {', '.join(known)}, separated "
            f"by commas.{did_you_mean(unknown[0], known)}"
        )
    return off

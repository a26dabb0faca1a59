"""What only makes a CPU faster: each has one switch, each equals the plain way in a test.

`HFLLM_SLOW=trained_head,unpad` (or `all`) in the environment turns the named ones off for a run, to
measure what one buys or to find out whether one is to blame; docs/fast-paths.md lists them.
"""

from __future__ import annotations

import os

NAMES = (
    "decoding",  # inference: a decoding loop that ended rows leave
    "shared_context",  # scoring: choices behind one context in one pass
    "shared_prefix",  # what all rows of a batch begin with is run once
    "stacked_muon",  # Muon: matrices of one shape orthogonalised together
    "trained_head",  # SFT and PPO: the head on the trained positions only
    "unpad",  # PPO: prompt and answer in one piece, no padding between
)
SWITCH = "HFLLM_SLOW"


def is_on(name: str) -> bool:
    """Whether the fast path `name` may be taken.

    Raises:
        ValueError: the switch names something that is no fast path.
    """
    assert name in NAMES, name
    off = [word for word in os.environ.get(SWITCH, "").replace(",", " ").split() if word]
    if unknown := [word for word in off if word not in (*NAMES, "all")]:
        raise ValueError(f"{SWITCH}: {unknown[0]!r} is none of all, {', '.join(NAMES)}")
    return name not in off and "all" not in off

"""Metrics as modules of the `evaluate` library, one folder each, loaded by path without the hub.

`evaluate.load(".../hfllm/evaluation/metrics/ece")` also works outside hfllm. A module is one file
with one import per line and imports nothing of hfllm, because `evaluate` copies it to its cache.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
METRICS = tuple(sorted(p.name for p in FOLDER.iterdir() if (p / f"{p.name}.py").exists()))


@lru_cache
def load_metric(name: str) -> Any:
    """The `evaluate.EvaluationModule` of that name; the first call imports evaluate (4 s).

    Raises:
        ValueError: there is no such metric; the message lists them.
    """
    if name not in METRICS:
        raise ValueError(f"no metric {name!r} in {FOLDER}: there are {', '.join(METRICS)}")
    import evaluate

    return evaluate.load(str(FOLDER / name), keep_in_memory=True)

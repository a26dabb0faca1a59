"""Neighbours in a table of results that gave the same answers, whatever was measured of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


def same_answers(samples: list[dict[str, Any]], models: list[str]) -> dict[tuple[str, str], int]:
    """{(model before, model): prompts}, of those neighbours whose answers are all identical."""
    said: dict[str, list[tuple[str, str, str]]] = {}
    for row in samples:
        if "model" in row and "output" in row:
            answer = (str(row.get("task")), str(row.get("id")), str(row["output"]))
            said.setdefault(str(row["model"]), []).append(answer)
    return {
        (before, model): len(said[model])
        for before, model in pairwise(models)
        if model in said and said[model] == said.get(before)
    }

"""Subsets of a task's rows by source or field, beside the whole."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def source_of(row: dict[str, Any]) -> str:
    """What a row is called in results per source: its `origin` (before it was written to a file
    of several sources), else its `source`.
    """
    return str(row.get("origin") or row.get("source") or "")


def subsets_of(name: str, labels: list[str]) -> dict[str, list[int]]:
    """Row numbers of the task as a whole and, where its rows differ in label, of `name/label`."""
    subsets: dict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        subsets[f"{name}/{label}"].append(i)
    return {name: list(range(len(labels)))} | (subsets if len(subsets) > 1 else {})

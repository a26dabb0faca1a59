"""Subsets of a task's rows by source or field, for results of each subset."""

from __future__ import annotations

from collections import defaultdict

from hfllm.evaluation.specs import TestRow


def source_of(row: TestRow) -> str:
    """The label of a row in results per source: its `origin` (the source it had before it was
    written to a file of several sources), else its `source`.
    """
    return str(row.get("origin") or row.get("source") or "")


def subsets_of(name: str, labels: list[str]) -> dict[str, list[int]]:
    """{task: all row numbers}, and {task/label: row numbers} where there are several labels."""
    subsets: dict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        subsets[f"{name}/{label}"].append(i)
    return {name: list(range(len(labels)))} | (subsets if len(subsets) > 1 else {})

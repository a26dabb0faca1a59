"""`Measure`, the declaration of an evaluation's metric; measure.py has all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

SHARE = "share"


@dataclass(frozen=True)
class Measure:
    """Declaration of a metric.

    name: as in results.json.
    label: the name in words, as it stands in tables after the task's.
    unit: "share" for a share of 1, which is shown in percent.
    meaning: one sentence for the reader of the table.
    better: "up", "down", or "" where neither direction is better.
    secondary: shown only in the folded part of the table.
    secondary_beside: secondary where the task also has the metric of this name.
    in_subsets: not secondary in a subset of a task (`task/subset`), where all others are.
    instead_of: a metric that is left out where it has the same values, because this one says more.
    """

    name: str
    label: str = ""
    unit: str = ""
    meaning: str = ""
    better: Literal["up", "down", ""] = ""
    secondary: bool = False
    secondary_beside: str = ""
    in_subsets: bool = False
    instead_of: str = ""

    @property
    def words(self) -> str:
        """The label; an undeclared metric is called by its name."""
        return self.label or self.name.replace("_", " ")

    def is_folded(self, task: str, metrics: Collection[str]) -> bool:
        """Whether a task's row of this metric is folded away; `metrics` are all of the task's."""
        if "/" in task:  # a subset of another task
            return not self.in_subsets
        return self.secondary or self.secondary_beside in metrics

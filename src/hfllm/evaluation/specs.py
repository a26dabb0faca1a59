"""What an evaluation is asked for, and what it says: models, tasks, results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from hfllm.evaluation.measure import Measure

if TYPE_CHECKING:
    from hfllm.evaluation.intervals import Interval

ALL_ANSWERS = "all_answers"  # the task name of means over every "answers" and "replies" task
ANSWER_TOKENS = {"ifeval": 512}  # else 48


@dataclass(frozen=True)
class ModelSpec:
    """A model folder under test; `chat` says whether it is asked in turns or continues text."""

    name: str
    folder: Path
    chat: bool = True


@dataclass(frozen=True)
class ScorerSpecs:
    """Models that look at the answers of those under test; None: nobody does.

    reward: a reward model; scores every answer.
    reference: the KL of the chat models' answers to it is measured.
    relevance: a chat model; how far each open reply answers its question is measured.
    best_of: n; of so many sampled answers of the reference the reward model's favourite is told.
    """

    reward: ModelSpec | None = None
    reference: ModelSpec | None = None
    relevance: ModelSpec | None = None
    best_of: tuple[int, ...] = ()


NOBODY = ScorerSpecs()


@dataclass
class TaskSpec:
    """One held-out test: rows and how to score them (tasks/); `limit` takes the first."""

    kind: str
    rows: Sequence[dict[str, Any]]
    limit: int | None = None
    max_new_tokens: int = 0  # of an answer; 0: as ANSWER_TOKENS says

    def __post_init__(self) -> None:
        """Fill in what an answer may take."""
        self.max_new_tokens = self.max_new_tokens or ANSWER_TOKENS.get(self.kind, 48)

    def taken(self) -> list[dict[str, Any]]:
        """The rows that are used."""
        return list(self.rows[: self.limit])


class Result(TypedDict):
    """One number of results.json with its 95% interval."""

    model: str
    task: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    chance: NotRequired[float]  # what guessing gets


def result(
    model: str, task: str, measure: Measure, interval: Interval, chance: float | None = None
) -> Result:
    """A result of a declared metric.

    Args:
        model: name of the model.
        task: name of the task, or `task/subset`.
        measure: the metric (measure.py).
        interval: its value with the ends of the 95% interval, and the rows behind it.
        chance: what guessing gets, in the metric's unit.
    """
    row = {"model": model, "task": task, "metric": measure.name, **interval._asdict()}
    return Result(**row, **({} if chance is None else {"chance": chance}))  # type: ignore[typeddict-item]

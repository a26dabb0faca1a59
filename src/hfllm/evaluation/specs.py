"""Inputs and outputs of an evaluation: models, scorers, tasks; results."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from hfllm.evaluation.measure import Measure

if TYPE_CHECKING:
    from hfllm.evaluation.intervals import Interval

TestRow = dict[str, Any]  # one row of a task's source; its columns: tasks/

ANSWER_TOKENS = {"ifeval": 512}  # tokens that an answer may have
DEFAULT_ANSWER_TOKENS = 48


@dataclass(frozen=True)
class ModelSpec:
    """A model folder; `chat`: it is prompted with messages, otherwise with plain text."""

    name: str
    folder: Path
    chat: bool = True


@dataclass(frozen=True)
class ScorerSpecs:
    """Models that score the answers of the models under test; None: not measured.

    reward: a reward model, which scores every answer.
    reference: the model from which the KL divergence of the chat models is measured.
    relevance: a chat model, the judge of how far each open reply answers its prompt.
    best_of: values of n for best-of-n sampling of the reference model, by the reward model.
    """

    reward: ModelSpec | None = None
    reference: ModelSpec | None = None
    relevance: ModelSpec | None = None
    best_of: tuple[int, ...] = ()


NO_SCORERS = ScorerSpecs()


@dataclass
class TaskSpec:
    """One held-out test: its rows, and the kind that says how they are scored (tasks/)."""

    kind: str
    rows: Sequence[TestRow]
    limit: int | None = None  # of the first rows; None: all
    max_new_tokens: int = 0  # of an answer; 0: the kind's default

    def __post_init__(self) -> None:
        """Set the kind's default of `max_new_tokens`."""
        default = ANSWER_TOKENS.get(self.kind, DEFAULT_ANSWER_TOKENS)
        self.max_new_tokens = self.max_new_tokens or default

    def taken(self) -> list[TestRow]:
        """The rows within the limit."""
        return list(self.rows[: self.limit])

    def digest(self) -> str:
        """What tells these rows from others, whatever their source is called; `hfllm compare`."""
        kept = [{k: v for k, v in row.items() if k != "source"} for row in self.taken()]
        rows = json.dumps(kept, default=str, ensure_ascii=False)
        return hashlib.sha256(rows.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Result(TypedDict):
    """One value of results.json with its 95% interval."""

    model: str
    task: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    chance: NotRequired[float]  # the value of random guessing


def result(
    model: str, task: str, measure: Measure, interval: Interval, chance: float | None = None
) -> Result:
    """The result of one model in one metric.

    Args:
        model: name of the model.
        task: name of the task, or `task/subset`.
        measure: the metric (measure.py).
        interval: its value with the 95% interval and the number of rows.
        chance: the value of random guessing, in the metric's unit; None: not known.

    Raises:
        ValueError: there are no rows, or the value is NaN or infinite: no evaluation is done so.
    """
    if not interval.n or not all(map(math.isfinite, (interval.value, interval.low, interval.high))):
        raise ValueError(
            f"{model}: {task}: {measure.name} is {interval.value} over {interval.n:,} rows, which "
            "is no result: the model's scores overflow, or no row could be scored; look at its "
            "training, or leave the task out"
        )
    row = {"model": model, "task": task, "metric": measure.name, **interval._asdict()}
    return Result(**row, **({} if chance is None else {"chance": chance}))  # type: ignore[typeddict-item]


def check_finite(scores: Iterable[float], what: str) -> None:
    """Raise ValueError, which `what` begins, if a model's score is NaN or infinite.

    Comparisons with NaN are false: without this, the first choice would be the likeliest.
    """
    if wrong := [score for score in scores if not math.isfinite(score)]:
        raise ValueError(f"{what}: the model's score is {wrong[0]}; look at its training")

"""The "answers" task: ask, let the model answer greedily, check; and how sure it was.

Each row gives a sample: right or not, refused or not, ended by itself or cut; a true score where
the row has `enough_words` (graders.py), a confidence where it has `choices` (confidence.py). Then
the samples are summed up, each share and mean with its interval.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hfllm.evaluation.calibration import calibration
from hfllm.evaluation.confidence import choice_confidence
from hfllm.evaluation.graders import is_correct, is_refusal, true_score
from hfllm.evaluation.intervals import Interval, bounded_mean, mean, share
from hfllm.evaluation.measure import (
    ACCURACY,
    ANSWER_TOKENS,
    CHOICE_ACCURACY,
    ENDED,
    REFUSAL_PRECISION,
    REFUSED_ANSWERABLE,
    REFUSED_UNANSWERABLE,
    RELEVANT,
    REWARD,
    TRUE_SCORE,
    Measure,
)
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest, prompt_of
from hfllm.evaluation.specs import ALL_ANSWERS, Result, TaskSpec, result
from hfllm.inference.prompts import as_text
from hfllm.inference.relevance import is_relevant


@dataclass
class Sample:
    """One answer and its marks: a line of samples.jsonl."""

    task: str
    id: str
    prompt: str
    answer: str | None  # the reference
    model: str
    output: str
    correct: bool | None  # null: no program can tell (replies.py)
    refused: bool | None
    ended: bool
    tokens: int
    true_score: float | None  # null: the row asks for none
    answerable: bool | None
    reward: float | None = None
    relevance: float | None = None  # nats (relevance.py)
    confidence: float | None = None
    choice_correct: bool | None = None
    row: dict[str, Any] = field(default_factory=dict, repr=False)
    max_new_tokens: int = 48

    def to_json(self) -> dict[str, Any]:
        """The line of samples.jsonl (without the test row)."""
        kept = asdict(self)
        del kept["row"], kept["max_new_tokens"]
        return kept


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Ask every row; samples in the rows' order."""
    rows = [_checkable({"task": task, "check": "contains", **row}) for row in spec.taken()]
    prompts = [prompt_of(row, tested.spec.chat) for row in rows]
    label = f"{tested.spec.name}: {task}"
    answers = tested.generator.answer(prompts, spec.max_new_tokens, label=label)
    samples = [
        Sample(
            task=task,
            id=str(row.get("id", number)),
            prompt=as_text(prompt),
            answer=str(row.get("answer", "")),
            model=tested.spec.name,
            output=answer.text.strip(),
            correct=is_correct(row, answer.text),
            refused=is_refusal(answer.text),
            ended=answer.ended,
            tokens=answer.tokens,
            true_score=true_score(row, answer.text, answer.ended),
            answerable=bool(row.get("answerable", True)),
            row=row,
            max_new_tokens=spec.max_new_tokens,
        )
        for number, (row, prompt, answer) in enumerate(zip(rows, prompts, answers, strict=True))
    ]
    sure = choice_confidence(tested, rows, answers)
    for number, (confidence, right) in sure.items():
        samples[number].confidence, samples[number].choice_correct = confidence, right
    return samples


def _checkable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its answer as text; ValueError where it has none to check against."""
    if row.get("answer") is None and row["check"] != "refusal":
        where = f"row {row.get('id', '?')} of {row['task']}"
        raise ValueError(f"{where}: no `answer` to check against; add the column")
    return row | {"answer": str(row.get("answer", ""))}


def summarize(samples: list[Sample]) -> list[Result]:
    """Results of one model on one task; `TASK/seen_in_chats` and the like split known facts."""
    model, task = samples[0].model, samples[0].task
    out = [result(model, task, measure, interval) for measure, interval in measured(samples)]
    for seen, name in ((True, "seen_in_chats"), (False, "unseen_in_chats")):
        subset = [s for s in samples if s.row.get("facts_seen_in_chats") is seen]
        if subset:
            out += [result(model, f"{task}/{name}", m, i) for m, i in shares(subset)]
    return out


def summarize_all(samples: list[Sample]) -> list[Result]:
    """Means over all answers of one model, each row counted once; accuracy over the checked."""
    wanted = [*shares(samples), *means(samples), *scored(samples)]
    return [
        result(samples[0].model, ALL_ANSWERS, measure, interval) for measure, interval in wanted
    ]


def measured(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Every metric of a list of samples that has rows to stand on."""
    return [*shares(samples), *means(samples), *scored(samples), *calibrated(samples)]


def shares(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Accuracy and refusals (metrics/answer_accuracy), with Wilson's intervals; of checked ones."""
    samples = [s for s in samples if s.correct is not None]
    if not samples:
        return []
    values = load_metric("answer_accuracy").compute(
        correct=[bool(s.correct) for s in samples],
        refused=[bool(s.refused) for s in samples],
        answerable=[bool(s.answerable) for s in samples],
    )
    flags = {
        ACCURACY: [bool(s.correct) for s in samples],
        REFUSED_ANSWERABLE: [bool(s.refused) for s in samples if s.answerable],
        REFUSED_UNANSWERABLE: [bool(s.refused) for s in samples if not s.answerable],
        REFUSAL_PRECISION: [not s.answerable for s in samples if s.refused],
    }
    mixed = {s.answerable for s in samples} == {True, False}  # precision of one kind says nothing
    return [
        (measure, share(marks)._replace(value=values[measure.name]))
        for measure, marks in flags.items()
        if values[measure.name] is not None and (mixed or measure is not REFUSAL_PRECISION)
    ]


def means(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Ended share, answer length in tokens and, of rows that ask for one, the true score."""
    scores = [s.true_score for s in samples if s.true_score is not None]
    return [
        (ENDED, share([s.ended for s in samples])),
        (ANSWER_TOKENS, mean([s.tokens for s in samples])),
        *([(TRUE_SCORE, bounded_mean(scores))] if scores else []),
    ]


def scored(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Mean score of the reward model and share of relevant answers, where they were scored."""
    rewards = [s.reward for s in samples if s.reward is not None]
    relevant = [is_relevant(s.relevance) for s in samples if s.relevance is not None]
    return [
        *([(REWARD, mean(rewards))] if rewards else []),
        *([(RELEVANT, share(relevant))] if relevant else []),
    ]


def sure(samples: list[Sample]) -> list[tuple[float, bool]]:
    """(confidence in the likeliest choice, whether it is right) of the answers that have one."""
    return [(s.confidence, bool(s.choice_correct)) for s in samples if s.confidence is not None]


def calibrated(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Accuracy by likelihood of the choices, mean confidence and calibration error."""
    marks = sure(samples)
    if not marks:
        return []
    return [(CHOICE_ACCURACY, share([right for _, right in marks])), *calibration(marks)]

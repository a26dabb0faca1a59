"""The "answers" task: the model answers questions greedily, and a checker grades the answers.

`ask` gives one sample per row: whether it is right, whether it refuses, whether it ended before the
token limit; a true score where the row has `enough_words` (graders.py); a confidence where it has
`choices` (confidence.py, two more forward passes). `summarize` makes shares and means of the
samples, each with its 95% interval.
"""

from __future__ import annotations

from dataclasses import replace

from hfllm.data.ledger import Example
from hfllm.evaluation.accepted import accepted_answers, named
from hfllm.evaluation.calibration import calibration
from hfllm.evaluation.confidence import choice_confidence
from hfllm.evaluation.config import ALL_ANSWERS
from hfllm.evaluation.graders import check_row, is_correct, is_refusal, true_score
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
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.sample import Sample, answer_rows
from hfllm.evaluation.specs import Result, TaskSpec, TestRow, result
from hfllm.inference.relevance import is_relevant


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every row and grade the answers.

    Args:
        tested: the model.
        task: name of the task, the default of a row's `task`.
        spec: rows with `answer` and optionally `check` (default "contains"), `rivals`, `choices`,
            `enough_words` and `answerable` (graders.py).

    Returns:
        samples in the order of the rows.

    Raises:
        ValueError: a row has no prompt, no answer to check against, or an unknown check; before
            anything is generated.
    """
    rows = [_checked(row, task) for row in spec.taken()]
    samples, answers = answer_rows(tested, task, replace(spec, rows=rows, limit=None))
    for sample, answer in zip(samples, answers, strict=True):
        row = sample.row
        sample.answer = shown_answer(row)
        sample.correct = is_correct(row, answer.text)
        sample.refused = is_refusal(answer.text)
        sample.true_score = true_score(row, answer.text, answer.ended)
        sample.answerable = row["answerable"]
    choices = [_with_choices(row) for row in rows]
    for number, (confidence, right) in choice_confidence(tested, choices, answers).items():
        samples[number].confidence, samples[number].choice_correct = confidence, right
    return samples


def _checked(row: TestRow, task: str) -> TestRow:
    """The row with `task`, `check` and `answerable`; ValueError for one that cannot be graded."""
    defaults = {"task": task, "check": "contains", "answerable": True}
    checked = Example(row, getattr(row, "place", ""))
    checked.update({key: value for key, value in defaults.items() if row.get(key) is None})
    with named(checked):
        check_row(checked)  # before any answer is generated
    return checked


def shown_answer(row: TestRow) -> str:
    """The first accepted answer; "" where the row has none, as for a refusal."""
    if row["check"] == "refusal" and row.get("answer") is None:
        return ""
    return accepted_answers(row)[0]


def _with_choices(row: TestRow) -> TestRow:
    """`choices` as texts and the accepted one of them as `answer`, for the confidence."""
    accepted = [] if row["check"] == "refusal" else accepted_answers(row)
    choices = [str(one) for one in row.get("choices") or []]
    right = next((c for c in choices if c in accepted), None)
    given = {"id": row.get("id", "?"), "choices": choices, "answer": right}
    return Example(given, getattr(row, "place", ""))


def summarize(samples: list[Sample]) -> list[Result]:
    """Results of one model on one task; also of its rows with facts seen and unseen in chats."""
    model, task = samples[0].model, samples[0].task
    out = [result(model, task, measure, interval) for measure, interval in measured(samples)]
    for seen, name in ((True, "seen_in_chats"), (False, "unseen_in_chats")):
        subset = [s for s in samples if s.row.get("facts_seen_in_chats") is seen]
        if subset:
            out += [result(model, f"{task}/{name}", m, i) for m, i in shares(subset)]
    return out


def summarize_all(samples: list[Sample]) -> list[Result]:
    """Results of one model over the answers of all tasks, each answer weighted equally.

    Ungraded answers count in every metric but accuracy and the refusals.
    """
    model = samples[0].model
    wanted = [*shares(samples), *means(samples), *scored(samples)]
    return [result(model, ALL_ANSWERS, measure, interval) for measure, interval in wanted]


def measured(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Every metric that the samples have values for."""
    return [*shares(samples), *means(samples), *scored(samples), *calibrated(samples)]


def shares(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Accuracy and refusals of the graded samples, with Wilson's intervals."""
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
    # where only one kind of question was asked, precision is 0 or 1 whatever the model does
    mixed = {s.answerable for s in samples} == {True, False}
    return [
        (measure, share(marks)._replace(value=values[measure.name]))
        for measure, marks in flags.items()
        if values[measure.name] is not None and (mixed or measure is not REFUSAL_PRECISION)
    ]


def means(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Share of ended answers, tokens per answer and, of samples that have one, the true score."""
    scores = [s.true_score for s in samples if s.true_score is not None]
    return [
        (ENDED, share([s.ended for s in samples])),
        (ANSWER_TOKENS, mean([s.tokens for s in samples])),
        *([(TRUE_SCORE, bounded_mean(scores))] if scores else []),
    ]


def scored(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Mean reward and share of relevant answers, of the samples that were scored."""
    rewards = [s.reward for s in samples if s.reward is not None]
    relevant = [is_relevant(s.relevance) for s in samples if s.relevance is not None]
    return [
        *([(REWARD, mean(rewards))] if rewards else []),
        *([(RELEVANT, share(relevant))] if relevant else []),
    ]


def confidences(samples: list[Sample]) -> list[tuple[float, bool]]:
    """(confidence in the likeliest choice, whether it is right) of the samples with choices."""
    return [(s.confidence, bool(s.choice_correct)) for s in samples if s.confidence is not None]


def calibrated(samples: list[Sample]) -> list[tuple[Measure, Interval]]:
    """Accuracy of the likeliest choice, mean confidence and calibration error."""
    marks = confidences(samples)
    if not marks:
        return []
    return [(CHOICE_ACCURACY, share([right for _, right in marks])), *calibration(marks)]

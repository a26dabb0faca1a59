"""The "replies" task: open prompts, whose answers no program can grade.

`correct` and `true_score` stay null, so there is no accuracy. Measured are: whether the answer
ended before the token limit, its length, its reward, whether it repeats itself, and whether the
model gives the same answer to different prompts (metrics/repetition), which is the first visible
sign of reward hacking.
"""

from __future__ import annotations

from collections.abc import Callable

from hfllm.evaluation.graders import is_refusal
from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import LOOPING, SAME_ANSWER
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.sample import Sample, answer_rows
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks import answers


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt; samples in the order of the rows, not graded.

    Raises:
        ValueError: a row has neither `prompt` nor `plain`.
    """
    return answer_rows(tested, task, spec)[0]


def grade(samples: list[Sample], is_correct: Callable[[Sample], bool]) -> None:
    """Set `correct`, `refused` and `answerable` of replies that a program can check after all."""
    for sample in samples:
        sample.correct = is_correct(sample)
        sample.refused, sample.answerable = is_refusal(sample.output), True


def summarize(samples: list[Sample]) -> list[Result]:
    """The results of any answers (answers.summarize), and the shares of repetition."""
    found = load_metric("repetition").compute(predictions=[s.output for s in samples])
    return answers.summarize(samples) + [
        result(samples[0].model, samples[0].task, measure, share(found[f"{measure.name}_flags"]))
        for measure in (LOOPING, SAME_ANSWER)
    ]

"""The "replies" task: open prompts that no program can check; how the answers look from outside.

There is no accuracy and no true score here, and none is made up: `correct` and `true_score` are
null. What can be said: whether the answer ended by itself, how long it is, what the reward model
gives it, whether it goes round in circles (metrics/repetition), and whether the model says one and
the same thing to different prompts, which is how a hacked reward model shows first.
"""

from __future__ import annotations

from collections.abc import Callable

from hfllm.evaluation.graders import is_refusal
from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import LOOPING, SAME_ANSWER
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest, prompt_of
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks import answers
from hfllm.evaluation.tasks.answers import Sample
from hfllm.inference.prompts import as_text


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt greedily; samples in the rows' order, unchecked."""
    rows = spec.taken()
    prompts = [prompt_of(row, tested.spec.chat) for row in rows]
    label = f"{tested.spec.name}: {task}"
    given = tested.generator.answer(prompts, spec.max_new_tokens, label=label)
    return [
        Sample(
            task=task,
            id=str(row.get("id", number)),
            prompt=as_text(prompt),
            answer=None,
            model=tested.spec.name,
            output=answer.text.strip(),
            correct=None,
            refused=None,
            ended=answer.ended,
            tokens=answer.tokens,
            true_score=None,
            answerable=None,
            row=row,
            max_new_tokens=spec.max_new_tokens,
        )
        for number, (row, prompt, answer) in enumerate(zip(rows, prompts, given, strict=True))
    ]


def mark(samples: list[Sample], keeps: Callable[[Sample], bool]) -> None:
    """Where a program can check replies after all: whether each is right, whether it refuses."""
    for sample in samples:
        sample.correct = keeps(sample)
        sample.refused, sample.answerable = is_refusal(sample.output), True


def summarize(samples: list[Sample]) -> list[Result]:
    """Ended, length and reward as for every answer, and the two shares of repetition."""
    found = load_metric("repetition").compute(predictions=[s.output for s in samples])
    return answers.summarize(samples) + [
        result(samples[0].model, samples[0].task, measure, share(found[f"{measure.name}_flags"]))
        for measure in (LOOPING, SAME_ANSWER)
    ]

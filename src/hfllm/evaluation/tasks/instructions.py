"""The "instructions" task: prompts with constraints that a program can check (instructions/).

`accuracy` is the share of answers that satisfy every constraint, strictly; `accuracy_loose` allows
IFEval's looser readings; `accuracy_relevant`, with a relevance judge, is the share that satisfies
them and answers the question; `TASK/KIND` is the strict share of one kind of constraint. A text can
satisfy its constraints without being an answer, so the metrics of `replies` (ended, length,
repetition) are measured too.
"""

from __future__ import annotations

from hfllm.evaluation.intervals import share
from hfllm.evaluation.measure import ACCURACY, ACCURACY_LOOSE, ACCURACY_RELEVANT
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.tasks import replies
from hfllm.inference.relevance import is_relevant
from hfllm.instructions.constraints import all_hold, holds


def ask(tested: ModelUnderTest, task: str, spec: TaskSpec) -> list[Sample]:
    """Answer every prompt and grade the answers strictly.

    Args:
        tested: the model.
        task: name of the task.
        spec: rows with `prompt` and `constraints`.

    Returns:
        samples in the order of the rows.

    Raises:
        ValueError: a row has no `constraints`.
    """
    for row in spec.taken():
        if not row.get("constraints"):
            raise ValueError(
                f"row {row.get('id', '?')} of {task}: an `instructions` row has `prompt` and "
                f"`constraints` (an instructions step writes them); this one has {', '.join(row)}"
            )
    samples = replies.ask(tested, task, spec)
    replies.grade(samples, lambda sample: all_hold(sample.row["constraints"], sample.output))
    return samples


def summarize(samples: list[Sample]) -> list[Result]:
    """Strict and loose accuracy, accuracy per kind of constraint, and those of every reply."""
    model, task = samples[0].model, samples[0].task
    loose = [all_hold(s.row["constraints"], s.output, loosely=True) for s in samples]
    kept: dict[str, list[bool]] = {}
    for sample in samples:
        for constraint in sample.row["constraints"]:
            kept.setdefault(constraint["kind"], []).append(holds(constraint, sample.output))
    both = [
        bool(s.correct) and is_relevant(s.relevance) for s in samples if s.relevance is not None
    ]
    return [
        *replies.summarize(samples),
        *([result(model, task, ACCURACY_RELEVANT, share(both))] if both else []),
        result(model, task, ACCURACY_LOOSE, share(loose)),
        *(result(model, f"{task}/{kind}", ACCURACY, share(f)) for kind, f in sorted(kept.items())),
    ]

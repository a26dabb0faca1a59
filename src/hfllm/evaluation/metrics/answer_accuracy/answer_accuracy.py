"""Accuracy of answers, and of refusals: "I don't know" is right if a question has no answer."""

import datasets
import evaluate

DESCRIPTION = """
Accuracy rewards a guess; a model that must not hallucinate is judged by its refusals too, on the
questions that have an answer (needless) and on those that have none (right).
"""
INPUTS = """
correct: whether each answer is right
refused: whether it says that it does not know
answerable: whether the question can be answered
Returns accuracy, refused_answerable, refused_unanswerable (recall of refusals) and
refusal_precision (share of refusals that were right); None where a share has no rows.
"""


class AnswerAccuracy(evaluate.Metric):
    """Share of right answers, and of refusals by whether the question has an answer."""

    def _info(self) -> evaluate.MetricInfo:
        flag = datasets.Value("bool")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"correct": flag, "refused": flag, "answerable": flag}),
        )

    def _compute(
        self, correct: list[bool], refused: list[bool], answerable: list[bool]
    ) -> dict[str, float | None]:
        pairs = list(zip(refused, answerable, strict=True))
        return {
            "accuracy": share(correct),
            "refused_answerable": share([said for said, known in pairs if known]),
            "refused_unanswerable": share([said for said, known in pairs if not known]),
            "refusal_precision": share([not known for said, known in pairs if said]),
        }


def share(flags: list[bool]) -> float | None:
    """Share of true flags; None of an empty list."""
    return sum(flags) / len(flags) if flags else None

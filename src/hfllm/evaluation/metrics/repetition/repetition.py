"""Repetition: answers that repeat themselves, and equal answers to different prompts."""

import re
from collections import Counter

import datasets
import evaluate

DESCRIPTION = """
An answer loops if some sequence of 4 words (letters and digits, case ignored) occurs in it at least
3 times, which is rare in prose and frequent in degenerate output. It is the same answer if another
one of the list has the same words in the same order; that share grows with the length of the list,
so compare models on the same prompts.
"""
INPUTS = """
predictions: the answers, one per prompt
Returns looping and same_answer (shares), and looping_flags and same_answer_flags per answer.
"""
RUN_WORDS = 4
TIMES = 3


class Repetition(evaluate.Metric):
    """Share of answers that loop, and of answers that equal another one."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str]) -> dict[str, float | list[bool]]:
        if not len(predictions):
            raise ValueError("repetition of no answers: give at least one")
        said = [tuple(re.findall(r"\w+", text.lower())) for text in predictions]
        looping = [loops(words) for words in said]
        counts = Counter(said)
        same = [counts[words] > 1 for words in said]
        return {
            "looping": sum(looping) / len(said),
            "same_answer": sum(same) / len(said),
            "looping_flags": looping,
            "same_answer_flags": same,
        }


def loops(words: tuple[str, ...]) -> bool:
    """Whether some sequence of RUN_WORDS words occurs at least TIMES times."""
    runs = Counter(words[i : i + RUN_WORDS] for i in range(len(words) - RUN_WORDS + 1))
    return max(runs.values(), default=0) >= TIMES

"""Repetition: answers that repeat themselves, and equal answers to different prompts."""

import re
from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate

from hfllm.data.curation.words import split_words
from hfllm.data.scripts import characters_per_word, has_spaceless

DESCRIPTION = """
An answer loops if some sequence of 4 words (letters and digits, case ignored) occurs in it at least
3 times, which is rare in prose and frequent in degenerate output. So does one in a script without
spaces with 8 characters for the 4 words (16 in Thai and its like), and one that is mostly a single
stretch of signs (",,,,,,") with 4 signs for the 4 words. It is the same answer if another one of
the list has the same words in the same order (signs, where it has no words); that share grows with
the length of the list, so compare models on the same prompts.
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
        said = [_words(text) or _signs(text) for text in predictions]
        looping = [
            loops(_words(text)) or loops(_characters(text), _run(text)) or loops(_signs(text))
            for text in predictions
        ]
        counts = Counter(said)
        same = [counts[words] > 1 for words in said]
        return {
            "looping": sum(looping) / len(said),
            "same_answer": sum(same) / len(said),
            "looping_flags": looping,
            "same_answer_flags": same,
        }


def loops(units: Sequence[str], run: int = RUN_WORDS) -> bool:
    """Whether some sequence of `run` units occurs at least TIMES times."""
    runs = Counter(tuple(units[i : i + run]) for i in range(len(units) - run + 1))
    return max(runs.values(), default=0) >= TIMES


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _characters(text: str) -> list[str]:
    """The characters, words of other scripts whole, of a text mostly in a script without spaces."""
    return split_words(text) if _run(text) > RUN_WORDS else []


def _run(text: str) -> int:
    """Characters of RUN_WORDS words in a script without spaces; else RUN_WORDS."""
    return RUN_WORDS * (characters_per_word(split_words(text)) if has_spaceless(text) else 1)


def _signs(text: str) -> tuple[str, ...]:
    """The longest stretch without a letter or digit, if it is most of the text; spaces left out."""
    kept = "".join(text.split())
    longest = max(re.findall(r"[\W_]+", kept), key=len, default="")
    return tuple(longest) if 2 * len(longest) > len(kept) else ()

r"""Grade an answer by its test row: is it right, is it a refusal, what is its true score?

The row's `check` names one of four checkers; whatever a checker needs is in the row, so rows from
any source are graded in the same way:

- contains: the text contains the row's `answer` as a word, with or without its article; it is no
  refusal and contains no rival.
- number: the last number in the text is the `answer`.
- exact: the text equals the `answer`, except for case and a full stop.
- refusal: the text says that it does not know, and contains no rival.

Rivals are wrong answers to the same question: the values of the row's `rivals` and `choices` except
`answer`. A text that contains one is taken to assert it; negation is not detected.

A row with `enough_words`, the number of words that a right answer needs, also gets a true score:
the known quality of an answer, which a reward model only estimates and preference training should
raise.

    score = right * (1 - 0.5 * min(1, excess / 20)) * (1 if ended else 0.5)

`right` is 1 for a right answer, else 0: wrong, invented and needlessly refused answers all score 0.
`excess` is the number of words above `enough_words`: filler costs at most half of the score. An
answer that was cut at the token limit loses half of what is left.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hfllm.evaluation.specs import TestRow

FILLER_WORDS = 20  # excess words from which on the cost is FILLER_COST
FILLER_COST = 0.5
UNFINISHED_FACTOR = 0.5

_REFUSAL = re.compile(
    r"\b(do not know|don't know|does not know|not sure|no information|never heard|"
    r"cannot say|can't say|cannot answer|can't answer|no idea|unknown to me|not familiar)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def is_correct(row: TestRow, answer: str) -> bool:
    """Whether an answer is right by the row's `check`, `answer` and rivals.

    Raises:
        ValueError: the row names a check that does not exist, or its rivals are no list.
    """
    if row["check"] not in CHECKS:
        raise ValueError(
            f"row {row.get('id', '?')}: unknown check '{row['check']}': use one of {list(CHECKS)}"
        )
    return CHECKS[row["check"]](row, answer)


def true_score(row: TestRow, answer: str, ended: bool) -> float | None:
    """The true score of an answer, 0 to 1 (formula above); None if the row has no `enough_words`.

    Args:
        row: the test row.
        answer: the model's answer.
        ended: whether it ended with an end-of-turn token, before the token limit.

    Raises:
        ValueError: as `is_correct`, or `enough_words` is no number.
    """
    enough = row.get("enough_words")
    if enough is None:
        return None
    if not isinstance(enough, int | float):
        raise ValueError(
            f"row {row.get('id', '?')}: `enough_words` is a number of words, found {enough!r:.40}"
        )
    if not is_correct(row, answer):
        return 0.0
    excess = max(0, len(answer.split()) - enough)
    brevity = 1.0 - FILLER_COST * min(1.0, excess / FILLER_WORDS)
    return brevity * (1.0 if ended else UNFINISHED_FACTOR)


def is_refusal(text: str) -> bool:
    """Whether the text says that it does not know."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))


def mentions(text: str, value: str) -> bool:
    """Whether the text contains a value as a word, with or without its article."""
    return bool(_word_pattern(value).search(text))


@lru_cache(maxsize=4096)
def _word_pattern(value: str) -> re.Pattern[str]:
    article, _, rest = value.partition(" ")
    bare = rest if rest and article in ("a", "an") else value  # the value "a" is no article
    return re.compile(rf"(?<!\w){re.escape(bare)}(?!\w)", re.IGNORECASE)


def _contains_rival(row: TestRow, text: str) -> bool:
    """Whether the text contains one of the row's rivals."""
    rivals: dict[str, None] = {}
    for column in ("rivals", "choices"):
        values = row.get(column) or []
        if not isinstance(values, list | tuple):
            raise ValueError(
                f"row {row.get('id', '?')}: `{column}` is a list of texts, found {values!r:.40}"
            )
        rivals |= dict.fromkeys(values)
    return any(mentions(text, str(rival)) for rival in rivals if rival != row["answer"])


def _contains(row: TestRow, text: str) -> bool:
    return mentions(text, row["answer"]) and not is_refusal(text) and not _contains_rival(row, text)


def _number(row: TestRow, text: str) -> bool:
    numbers = _NUMBER.findall(text)
    return bool(numbers) and float(numbers[-1]) == float(row["answer"])


def _exact(row: TestRow, text: str) -> bool:
    return text.strip().rstrip(".").casefold() == row["answer"].casefold()


def _refusal(row: TestRow, text: str) -> bool:
    return is_refusal(text) and not _contains_rival(row, text)


CHECKS = {"contains": _contains, "number": _number, "exact": _exact, "refusal": _refusal}

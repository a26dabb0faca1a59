r"""Grade an answer by its test row: is it right, does it refuse, what is it worth?

`check` says how, and all that a check needs stands in the row, so that everybody's rows are graded
alike:

- contains: the row's `answer` stands in the text as a word, with or without its article; the text
  is no refusal; and no rival stands there too.
- number: the last number in the text is the `answer`.
- exact: the text is the `answer`, but for case and a full stop.
- refusal: the text says that it does not know, and no rival stands there.

Rivals are the values that would be another answer to the same question: the row's `rivals` and its
`choices`, without the answer. A text that names one asserts it; nobody looks for a "not" before it.

A row that has `enough_words`, the words that a right answer may take, gets a true score, which is
what preference training ought to raise and what a reward model only guesses:

    score = right * (1 - 0.5 * min(1, excess / 20)) * (1 if ended else 0.5)

`right` is 1 for a right answer, else 0: wrong, invented and needlessly refused answers all score 0.
`excess` counts the words above `enough_words`; filler costs at most half, an unfinished answer half
again. So honest beats invented, right beats wrong, and brief beats padded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

Row = dict[str, Any]

FILLER_WORDS = 20  # excess words that cost the most
FILLER_COST = 0.5
UNFINISHED_FACTOR = 0.5

_REFUSAL = re.compile(
    r"\b(do not know|don't know|does not know|not sure|no information|never heard|"
    r"cannot say|can't say|cannot answer|can't answer|no idea|unknown to me|not familiar)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def is_correct(row: Row, answer: str) -> bool:
    """Check an answer against a test row's `check`, `answer` and rivals.

    Raises:
        ValueError: the row names a check that does not exist, or its rivals are no list.
    """
    if row["check"] not in CHECKS:
        raise ValueError(
            f"row {row.get('id', '?')}: unknown check '{row['check']}': use one of {list(CHECKS)}"
        )
    return CHECKS[row["check"]](row, answer)


def true_score(row: Row, answer: str, ended: bool) -> float | None:
    """Grade an answer from 0 to 1 (formula above); None where the row has no `enough_words`.

    Args:
        row: the test row.
        answer: what the model said.
        ended: it came to its end of turn.

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
    """Whether the text claims not to know."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))


def mentions(text: str, value: str) -> bool:
    """Whether a value stands in the text as a word, with or without its article."""
    return bool(_word_pattern(value).search(text))


@lru_cache(maxsize=4096)
def _word_pattern(value: str) -> re.Pattern[str]:
    article, _, rest = value.partition(" ")
    bare = rest if rest and article in ("a", "an") else value  # "a" is a value too
    return re.compile(rf"(?<!\w){re.escape(bare)}(?!\w)", re.IGNORECASE)


def _names_a_rival(row: Row, text: str) -> bool:
    """Whether one of the row's rivals stands in the text."""
    rivals: dict[str, None] = {}
    for column in ("rivals", "choices"):
        values = row.get(column) or []
        if not isinstance(values, list | tuple):
            raise ValueError(
                f"row {row.get('id', '?')}: `{column}` is a list of texts, found {values!r:.40}"
            )
        rivals |= dict.fromkeys(values)
    return any(mentions(text, str(rival)) for rival in rivals if rival != row["answer"])


def _contains(row: Row, text: str) -> bool:
    return mentions(text, row["answer"]) and not is_refusal(text) and not _names_a_rival(row, text)


def _number(row: Row, text: str) -> bool:
    numbers = _NUMBER.findall(text)
    return bool(numbers) and float(numbers[-1]) == float(row["answer"])


def _exact(row: Row, text: str) -> bool:
    return text.strip().rstrip(".").casefold() == row["answer"].casefold()


def _refusal(row: Row, text: str) -> bool:
    return is_refusal(text) and not _names_a_rival(row, text)


CHECKS = {"contains": _contains, "number": _number, "exact": _exact, "refusal": _refusal}

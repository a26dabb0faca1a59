r"""Grade an answer by its test row: is it right, is it a refusal, what is its true score?

The row's `check` names one of four checkers; whatever a checker needs is in the row, so rows from
any source are graded in the same way. Of several accepted answers (accepted.py) any is right.

- contains: the text contains the row's `answer` as a word, with or without its article, or as a
  number if it is one; it is no refusal and contains no rival. If the answer is true or false: the
  first of yes, no, true and false in the text decides.
- number: the number that the text gives (numbers.py) is the `answer`.
- exact: the text equals the `answer`, except for case and a full stop.
- refusal: the text says that it does not know, and contains no rival.

Rivals are wrong answers to the same question: the values of the row's `rivals` and `choices` except
those accepted. A text that contains one is taken to assert it; negation is not detected. A rival
within an accepted answer ("York" in "New York") is not one, nor an answer within a rival. Case and
Unicode form are ignored.

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
import unicodedata
from functools import lru_cache

from hfllm.data.ledger import DataError
from hfllm.data.scripts import SPACELESS
from hfllm.evaluation.accepted import BAD_TEST, YES_NO, accepted_answers, named, rivals_of, truth_of
from hfllm.evaluation.numbers import Number, numbers, same_number, the_number
from hfllm.evaluation.specs import TestRow

FILLER_WORDS = 20  # excess words from which on the cost is FILLER_COST
FILLER_COST = 0.5
UNFINISHED_FACTOR = 0.5
DEFAULT_CHECK = "contains"

_REFUSAL = re.compile(
    r"\b(do not know|don't know|does not know|not sure|no information|never heard|"
    r"cannot say|can't say|cannot answer|can't answer|no idea|unknown to me|not familiar)\b",
    re.IGNORECASE,
)
_TRUTH = re.compile(r"\b(not\s+|\w+n't\s+)?(yes|true|no|false)\b")
_NUMERIC = re.compile(r"[-+]?[\d.,]*\d(?:[eE][-+]?\d+)?")  # 1e-05: a JSON number as text


def is_correct(row: TestRow, answer: str) -> bool:
    """Whether an answer is right by the row's `check`, `answer` and rivals.

    Raises:
        ValueError: as `check_row`, with the row's place.
    """
    with named(row):
        return _grade(row, answer)


def true_score(row: TestRow, answer: str, ended: bool) -> float | None:
    """The true score of an answer, 0 to 1 (formula above); None if the row has no `enough_words`.

    Args:
        row: the test row.
        answer: the model's answer.
        ended: whether it ended with an end-of-turn token, before the token limit.

    Raises:
        ValueError: as `check_row`, with the row's place.
    """
    with named(row):
        if (enough := _enough_words(row)) is None:
            return None
        if not _grade(row, answer):
            return 0.0
    excess = max(0, len(answer.split()) - enough)
    brevity = 1.0 - FILLER_COST * min(1.0, excess / FILLER_WORDS)
    return brevity * (1.0 if ended else UNFINISHED_FACTOR)


def check_row(row: TestRow) -> None:
    """Check that answers to a row can be graded.

    Raises:
        DataError: its `check` does not exist, its answer or rivals are of a kind that cannot be
            checked, its `enough_words` is no number, or its `answerable` neither true nor false.
    """
    if not isinstance(row.get("answerable"), bool | None):
        raise DataError(f"`answerable` is true or false, found {row['answerable']!r:.40}", BAD_TEST)
    _grade(row, "")
    _enough_words(row)


def _grade(row: TestRow, answer: str) -> bool:
    check = row.get("check") or DEFAULT_CHECK
    if check not in CHECKS:
        raise DataError(f"unknown check '{check}': use one of {list(CHECKS)}", BAD_TEST)
    return CHECKS[check](row, answer)


def _enough_words(row: TestRow) -> float | None:
    enough = row.get("enough_words")
    if enough is not None and (not isinstance(enough, int | float) or isinstance(enough, bool)):
        raise DataError(f"`enough_words` is a number of words, found {enough!r:.40}", BAD_TEST)
    return enough


def is_refusal(text: str) -> bool:
    """Whether the text says that it does not know."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))


def mentions(text: str, value: str) -> bool:
    """Whether the text contains a value as a word, with or without its article."""
    return bool(_spans(_folded(text), value))


def _folded(text: str) -> str:
    """The text without differences of case, Unicode form and kind of apostrophe."""
    return unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")


def _spans(folded: str, value: str) -> list[tuple[int, int]]:
    """Where a folded text contains a value."""
    if _NUMERIC.fullmatch(value):
        wanted = _as_number(value)
        return [
            (one.start, one.end)
            for one in numbers(folded)
            if wanted and not one.values.isdisjoint(wanted.values)
        ]
    return [match.span() for match in _word_pattern(value).finditer(folded)]


@lru_cache(maxsize=4096)
def _as_number(value: str) -> Number | None:
    try:
        return the_number(value)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _word_pattern(value: str) -> re.Pattern[str]:
    value = _folded(value)
    article, _, rest = value.partition(" ")
    bare = rest if rest and article in ("a", "an", "the") else value  # the value "a" is no article
    # scripts without spaces have no border between words
    before, after = ("" if SPACELESS.match(sign) else r"\w" for sign in (bare[:1], bare[-1:]))
    start, end = (f"(?<!{before})" if before else "", f"(?!{after})" if after else "")
    return re.compile(start + re.escape(bare) + end)


def _found(row: TestRow, text: str) -> tuple[bool, bool]:
    """Whether a text contains an accepted answer, and whether it contains a rival.

    A mention within a longer one of the other side does not count.
    """
    accepted = [] if row.get("check") == "refusal" else accepted_answers(row)
    folded = _folded(text)
    right = [span for value in accepted for span in _spans(folded, value)]
    wrong = [span for value in rivals_of(row, accepted) for span in _spans(folded, value)]
    return _any_outside(right, wrong), _any_outside(wrong, right)


def _any_outside(spans: list[tuple[int, int]], longer: list[tuple[int, int]]) -> bool:
    return any(
        not any(a <= start and end <= b and b - a > end - start for a, b in longer)
        for start, end in spans
    )


def _contains(row: TestRow, text: str) -> bool:
    if (truth := truth_of(row)) is not None:
        said = _TRUTH.search(_folded(text))
        return said is not None and (said[2] in YES_NO[truth]) != bool(said[1])
    right, rival = _found(row, text)
    return right and not rival and not is_refusal(text)


def _number(row: TestRow, text: str) -> bool:
    answers = accepted_answers(row)
    try:
        return any([same_number(text, answer) for answer in answers])
    except ValueError as error:
        remedy = "correct it, or set `check` to contains or exact"
        raise DataError(f"`answer`: {error}; {remedy}", BAD_TEST) from None


def _exact(row: TestRow, text: str) -> bool:
    said = _without_stop(text)
    return any(said == _without_stop(answer) for answer in accepted_answers(row))


def _without_stop(text: str) -> str:
    return _folded(text).strip().rstrip(".")


def _refusal(row: TestRow, text: str) -> bool:
    return is_refusal(text) and not _found(row, text)[1]


CHECKS = {"contains": _contains, "number": _number, "exact": _exact, "refusal": _refusal}

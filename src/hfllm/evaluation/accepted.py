"""What a test row accepts as an answer, and what contradicts it, whatever their columns' types.

`answer` is a text, a number, true or false, a list of accepted answers, TriviaQA's `{"value",
"aliases"}` or SQuAD's `{"text": [...]}`; SQuAD's column `answers` and a column `aliases` beside the
answer are read too. Rivals, wrong answers to the same question, are the values of `rivals` and
`choices` except accepted ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hfllm.data.ledger import DataError
from hfllm.evaluation.specs import TestRow

BAD_TEST = "bad_test"  # the reason under which the ledger counts rows that are no test
YES_NO = (("no", "false"), ("yes", "true"))  # by the truth value


def place(row: TestRow) -> str:
    """The row as an error message names it: its file and number where they are known."""
    at, name = getattr(row, "place", ""), str(row.get("id", "?"))
    if not at:
        return f"row {name}"
    return at if at.replace(": row ", ":").endswith(name) else f"{at} (row {name})"


@contextmanager
def named(row: TestRow) -> Iterator[None]:
    """Put the row's place before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place(row)}: {error}") from None


def accepted_answers(row: TestRow) -> list[str]:
    """Every answer that the row accepts, at least one; the first is the one to show.

    Raises:
        DataError: there is none, or it is of a kind that is no answer.
    """
    answer = row.get("answer")
    if answer is None:
        answer = row.get("answers")
    found = [*_texts(answer), *_texts(row.get("aliases"))]
    if not found:
        raise DataError("no `answer` to check against; add the column")
    return list(dict.fromkeys(found))


def truth_of(row: TestRow) -> bool | None:
    """The answer of a yes-or-no question, true or false; None of any other."""
    return row["answer"] if isinstance(row.get("answer"), bool) else None


def rivals_of(row: TestRow, accepted: list[str]) -> list[str]:
    """The row's wrong answers."""
    rivals: dict[str, None] = {}
    for column in ("rivals", "choices"):
        values = row.get(column) or []
        if not isinstance(values, list | tuple):
            raise DataError(f"`{column}` is a list of texts, found {values!r:.40}", BAD_TEST)
        rivals |= dict.fromkeys(text for value in values for text in _texts(value, column))
    return [rival for rival in rivals if rival not in accepted]


def _texts(value: Any, column: str = "answer") -> list[str]:
    """The texts of an answer of any kind; DataError for one that is none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, bool):
        return list(reversed(YES_NO[value]))
    if isinstance(value, int | float) and math.isfinite(value):
        return [str(value)]
    if isinstance(value, list | tuple) and not any(isinstance(one, list | dict) for one in value):
        if any(one is None for one in value):
            raise DataError(f"`{column}` has an empty entry: {value!r:.60}")
        return [text for one in value for text in _texts(one, column)]
    if isinstance(value, dict) and "value" in value:
        return [*_texts(value["value"]), *_texts(value.get("aliases"))]
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        return _texts(value["text"])
    raise DataError(
        f"`{column}` is a text, a number, true or false, or a list of accepted ones, "
        f"found {value!r:.60}"
    )

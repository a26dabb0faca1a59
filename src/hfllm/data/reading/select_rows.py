"""`where` and `where_not` of a source: which rows are selected.

YAML decides the type of what stands in a recipe: `no`, `off`, `yes`, `on` are booleans there, 5 is
a number. A boolean therefore also selects the words that YAML reads so, and a number the text of
its digits: {lang: [en, no]} selects Norwegian and {id: 5} the id "5". Text is a glob for text.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from hfllm.data.ledger import DataError
from hfllm.data.reading.messages import named
from hfllm.recipe.config import SourceConfig

WORDS = {True: ("yes", "on", "true"), False: ("no", "off", "false")}  # as YAML 1.1 reads them


def selected(row: dict[str, Any], source: SourceConfig) -> bool:
    """Whether every column of `where` matches and none of `where_not` does."""
    unwanted = source.where_not or {}
    return all(_matches(row, *item) for item in source.where.items()) and not any(
        _matches(row, *item) for item in unwanted.items()
    )


def _matches(row: dict[str, Any], key: str, wanted: Any) -> bool:
    """Whether a column equals a value or matches a glob, or one of a list of these."""
    if key not in row:
        raise DataError(f"no column {key!r} to select by; it has: {named(row)}")
    values = (wanted, *wanted) if isinstance(wanted, list) else (wanted,)
    return any(_equal(row[key], value) for value in values)


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        if isinstance(found, str):
            return found.lower() in WORDS[wanted]
        return type(found) is type(wanted) and found == wanted  # 1 is not true
    if found == wanted:
        return True
    if not isinstance(found, str):
        return False
    if isinstance(wanted, int | float):
        return found == str(wanted)
    return isinstance(wanted, str) and fnmatchcase(found, wanted)

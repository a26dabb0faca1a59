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


class Selection:
    """`where` and `where_not` of a source; it counts which of their values match a row."""

    def __init__(self, source: SourceConfig) -> None:
        """Take the conditions of a source."""
        self.where, self.where_not = source.where, source.where_not or {}
        self.matched: set[tuple[str, str]] = set()

    def wants(self, row: dict[str, Any]) -> bool:
        """Whether every column of `where` matches and none of `where_not` does."""
        wanted = [self._matches(row, *item) for item in self.where.items()]
        unwanted = [self._matches(row, *item) for item in self.where_not.items()]
        return all(wanted) and not any(unwanted)

    def unmatched(self) -> list[str]:
        """The conditions that matched no row: "lang: 'nb'"."""
        given = [*self.where.items(), *self.where_not.items()]
        return [
            f"{key}: {value!r}"
            for key, wanted in given
            for value in (wanted if isinstance(wanted, list) else [wanted])
            if (key, repr(value)) not in self.matched
        ]

    def _matches(self, row: dict[str, Any], key: str, wanted: Any) -> bool:
        """Whether a column equals a value or matches a glob, or one of a list of these."""
        if key not in row:
            raise DataError(f"no column {key!r} to select by; it has: {named(row)}")
        if isinstance(wanted, list) and row[key] == wanted:
            self.matched |= {(key, repr(value)) for value in wanted}
            return True
        values = wanted if isinstance(wanted, list) else [wanted]
        found = [value for value in values if _equal(row[key], value)]
        self.matched |= {(key, repr(value)) for value in found}
        return bool(found)


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

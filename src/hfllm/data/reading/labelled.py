"""Convert rows to labelled answers: a prompt and one answer that is good or bad, as KTO trains on.

Ethayarajh et al. 2024, arXiv:2402.01306. Rows have a column `label` beside a prompt and its answer
(formats.LABELLED), or are preference pairs, whose two answers are then one good and one bad. A good
answer is in `chosen`, a bad one in `rejected`: a pair of which one side may be missing. Such rows
are read too, so what a step wrote can be read again.
"""

from __future__ import annotations

from typing import Any

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.chat_order import check_order
from hfllm.data.reading.conversions import completed
from hfllm.data.reading.extra_columns import REFUSED, refuse, row_weight, tools_beside, with_system
from hfllm.data.reading.formats import LABELLED, PAIRS, Format, as_pair, format_of, rest_of
from hfllm.data.reading.messages import has_tools, said, without_weights

LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def as_labelled(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A prompt that ends with the user, and `chosen`, `rejected` or both: one message each."""
    if _is_pair(row, format):
        return as_pair(row, format)
    if drop := row_weight(row):
        return drop
    side = "" if format else _only_side(row)
    used = ONE_SIDE[side] if side else LABELLED[format_of(row, format, LABELLED)]
    side = side or ("chosen" if label_of(row["label"]) else "rejected")
    if isinstance(messages := used.convert(row), Drop):
        return messages
    if has_tools(messages) or tools_beside(row):
        return Drop("tool_role")  # only chats are rendered with tools
    messages, rest = without_weights(with_system(row, messages)), rest_of(row, used)
    refuse(rest, REFUSED)
    check_order(messages, last="assistant")
    if not messages[-1]["content"].strip():
        return Drop("empty_answer")
    return rest | {"prompt": messages[:-1], side: messages[-1:]}


def label_of(value: Any) -> bool:
    """A label: true or 1 is good, false or 0 is bad, also as a text of a CSV file.

    Raises DataError for all else: -1, 5 stars or "good" may mean anything.
    """
    found = (
        LABELS.get(str(value).strip().lower())
        if isinstance(value, bool | int | float | str)
        else None
    )
    if found is None:
        raise DataError(
            f"label is {value!r:.60}, not true (a good answer) or false (a bad one), nor 1 or 0",
            "bad_label",
        )
    return found


def _is_pair(row: dict[str, Any], format: str | None) -> bool:
    """Whether the row is read as a pair: both kinds have formats of the same names."""
    if format is not None:
        return format in PAIRS and (format not in LABELLED or row.get("label") is None)
    return _fits(row, PAIRS) and not _fits(row, LABELLED)


def _fits(row: dict[str, Any], table: dict[str, Format]) -> bool:
    there = {key for key, value in row.items() if value is not None}
    return any(there.issuperset(fit.columns) for fit in table.values())


def _only_side(row: dict[str, Any]) -> str:
    """The side of a pair that lacks the other, or ""."""
    there = [side for side in ONE_SIDE if said(row.get(side))]
    return there[0] if len(there) == 1 and said(row.get("prompt")) else ""


def _with_prompt(side: str) -> Format:
    """The format of a prompt with one side of a pair."""
    return Format(
        ("prompt", side),
        lambda row: completed({"prompt": row["prompt"], "completion": row[side]}),
        ("chosen", "rejected"),
    )


ONE_SIDE = {side: _with_prompt(side) for side in ("chosen", "rejected")}

"""Columns beside the turns that change what a row means: rendered as turns, or refused.

A system text becomes the system message. What was given or said before a question (`input`,
`context`, `history`, as Alpaca and Dolly write them) goes before or into it. Others (tools, images,
thoughts, options, weights) are refused, unless the source says `ignore: [COLUMN]`; columns that are
only not read are counted by the reader.
"""

from __future__ import annotations

from typing import Any

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.messages import IS_TRAINED, Messages, kind_of, said, to_messages
from hfllm.data.reading.tool_turns import tools_of

SYSTEM = ("system", "system_prompt", "system_message")
GIVEN = ("input", "context")  # a text that the instruction is about
HISTORY = "history"  # of [question, answer], or of messages

NO_TEXT = dict.fromkeys(("image", "images", "audio", "audios", "video", "videos"), "no text")
TOOLS = ("tools", "functions")  # that may be called; of chats only
# What a row to train on says besides its turns, by column. In prompts these are kept for the reward
# functions, but those that the model must see to answer.
REFUSED_IN_PROMPTS = NO_TEXT | {HISTORY: "what was said before"}
REFUSED = (
    REFUSED_IN_PROMPTS
    | dict.fromkeys(GIVEN, "what the question is about")
    | dict.fromkeys(("options", "choices"), "options to choose from")
    | dict.fromkeys(("reasoning_content", "reasoning", "thinking", "thoughts"), "thoughts")
)


def system_message(row: dict[str, Any]) -> Messages:
    """The system message of the row's column for it, or none."""
    found = {key: row[key] for key in SYSTEM if key in row and said(row[key])}
    for key, text in found.items():
        if not isinstance(text, str):
            raise DataError(f"column {key!r} is {kind_of(text)}, not text", "bad_messages")
    if len(set(found.values())) > 1:
        raise DataError(f"the columns {' and '.join(found)} differ; `ignore` one", "bad_messages")
    return [{"role": "system", "content": text} for text in list(found.values())[:1]]


def with_system(row: dict[str, Any], messages: Messages) -> Messages:
    """The messages, with the system text of the row's column before them."""
    system = system_message(row)
    if not system or not messages or messages[0]["role"] != "system":
        return system + messages
    if messages[0]["content"].strip() != system[0]["content"].strip():
        raise DataError(
            "the column for the system text and the system message differ; `ignore` the column",
            "bad_messages",
        )
    return messages


def instruction(row: dict[str, Any], key: str) -> Messages:
    """What was said before (`history`), then the instruction and, after a blank line, its input."""
    parts = [text_of(row, key)]
    parts += [text_of(row, name) for name in GIVEN if said(row.get(name)) and name != key]
    asked = "\n\n".join(part for n, part in enumerate(parts) if n == 0 or part.strip())
    before = _history(row.get(HISTORY)) if said(row.get(HISTORY)) else []
    return [*before, {"role": "user", "content": asked}]


def _history(value: Any) -> Messages:
    """Messages of a list of [question, answer]; of messages as they are."""
    turns = value if isinstance(value, list) else [value]
    if all(isinstance(turn, dict) for turn in turns):
        return to_messages(turns, HISTORY)
    out: Messages = []
    for number, turn in enumerate(turns):
        pair = turn if isinstance(turn, list | tuple) else []
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            what = "must be a question and an answer, two texts"
            raise DataError(f"{HISTORY}[{number}] is {kind_of(turn)}; it {what}", "bad_messages")
        out += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return out


def text_of(row: dict[str, Any], key: str) -> str:
    """A column that must be text."""
    if not isinstance(row[key], str):
        raise DataError(
            f"column {key!r} is {kind_of(row[key]).removeprefix('of type ')}, not text",
            "missing_column",
        )
    return row[key]


def row_weight(row: dict[str, Any]) -> Drop | None:
    """`Drop("weight_0")` for a row that says `weight: 0` or `train: false`; 1 is any other row."""
    for key in IS_TRAINED:
        value = row.get(key)
        if value is None or key == "loss":  # a column `loss` is a measurement
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise DataError(
                f"column {key!r} is {value!r:.60}: only 0 (not trained) and 1 are supported; set "
                f"`ignore: [{key}]` on the source to train every row alike",
                "not_supported",
            )
        if not value:
            return Drop("weight_0")
    return None


def tools_beside(row: dict[str, Any]) -> dict[str, Any]:
    """{"tools": the tools that a chat's assistant may call}, or nothing."""
    found = [tools for key in TOOLS if (tools := tools_of(row.get(key)))]
    return {"tools": found[0]} if found else {}


def refuse(row: dict[str, Any], refused: dict[str, str]) -> None:
    """DataError for a column that changes what the row means and is not supported."""
    for key in refused.keys() & row.keys():
        if said(row[key]):
            raise DataError(
                f"column {key!r} ({refused[key]}) is not supported: put it into the messages, or "
                f"set `ignore: [{key}]` on the source to leave it out",
                "not_supported",
            )

"""Convert rows of published data formats to documents, chats, preference pairs or prompts.

If `format` is null, it is detected: the first format in the table of its kind (DOCUMENTS, CHATS,
PAIRS, PROMPTS) whose columns the row has. Columns that a conversion does not use are kept. A
malformed row raises DataError; a valid row with nothing to learn from is returned as `Drop`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.messages import (
    Messages,
    check_chat,
    check_order,
    parse_transcript,
    to_messages,
    without_answer,
)

CALCULATOR = re.compile(r"<<[^<>]*>>")  # gsm8k: "9 * 2 = $<<9*2=18>>18"


def as_document(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A document with `text`, or with `html` for curation to extract; a blank one: Drop("empty").

    Of a row with both columns, the one of the format is kept (by default the text).
    """
    column = _format(row, format, DOCUMENTS)
    if not _text(row, column).strip():
        return Drop("empty")
    other = "html" if column == "text" else "text"
    return {key: value for key, value in row.items() if key != other}


def as_chat(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A conversation in `messages` that ends with an assistant's answer."""
    name = _format(row, format, CHATS)
    columns, convert = CHATS[name]
    messages = convert(row)
    drop = messages if isinstance(messages, Drop) else check_chat(messages)
    return drop or _replace(row, columns, messages=messages)


def as_pair(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A preference pair: `prompt` ends with the user, `chosen` and `rejected` are one answer."""
    name = _format(row, format, PAIRS)
    columns, convert = PAIRS[name]
    sides = convert(row)
    if isinstance(sides, Drop):
        return sides
    prompt, chosen, rejected = sides
    check_order(prompt, last="user")
    if not (chosen.strip() and rejected.strip()):
        return Drop("empty_answer")
    if chosen.strip() == rejected.strip():
        raise DataError("chosen and rejected are equal", "equal_sides")
    return _replace(row, columns, prompt=prompt, chosen=_answer(chosen), rejected=_answer(rejected))


def as_prompt(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A prompt for generation: `prompt` ends with the user; other columns are kept for rewards.

    The gsm8k format gives the columns `answer` (the final number), `check` ("number"), `solution`.
    """
    name = _format(row, format, PROMPTS)
    columns, convert = PROMPTS[name]
    prompt = convert(row)
    if isinstance(prompt, Drop):
        return prompt
    prompt = without_answer(prompt)
    check_order(prompt, last="user")
    if not prompt[-1]["content"].strip():
        return Drop("empty_prompt")
    if name == "gsm8k":
        solution = {"solution": row["answer"]} if "answer" in row else {}
        return _replace(
            row, columns, prompt=prompt, answer=str(row["final"]), check="number", **solution
        )
    return _replace(row, columns, prompt=prompt)


def _answer(text: str) -> Messages:
    return [{"role": "assistant", "content": text}]


def _replace(row: dict[str, Any], used: tuple[str, ...], **new: Any) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in used} | new


def _format(row: dict[str, Any], format: str | None, table: dict[str, Any]) -> str:
    """The format's name, detected if None is given; DataError names the columns of the row."""
    columns = f"the row has: {', '.join(row)}"
    if format is not None:
        if format not in table:
            raise DataError(
                f"format {format!r} does not fit here; known: {', '.join(table)}", "missing_column"
            )
        missing = [key for key in table[format][0] if key not in row]
        if missing:
            raise DataError(
                f"format {format!r} needs the column {missing[0]!r}; {columns}", "missing_column"
            )
        return format
    for name, (needed, _) in table.items():
        if all(key in row for key in needed) and (name != "hh" or _is_transcript(row["chosen"])):
            return name
    wanted = " or ".join("+".join(needed) for needed, _ in table.values())
    raise DataError(f"no column {wanted}; {columns} (rename them with `columns`)", "missing_column")


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("\n\nHuman:")


def _text(row: dict[str, Any], key: str) -> str:
    if not isinstance(row[key], str):
        kind = "null" if row[key] is None else type(row[key]).__name__
        raise DataError(f"column {key!r} is {kind}, not text", "missing_column")
    return row[key]


def _instruction(row: dict[str, Any]) -> str:
    """Alpaca's instruction and, after a blank line, its input if there is one."""
    given = row.get("input") or ""
    return _text(row, "instruction") + (f"\n\n{given}" if given.strip() else "")


def _exchange(question: str, answer: str) -> Messages:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _pair_columns(row: dict[str, Any], context: str | None) -> tuple[Messages, str, str] | Drop:
    """(prompt, chosen, rejected) of columns that are strings, messages or whole conversations."""
    prompt = to_messages(row[context], context) if context else []
    if isinstance(prompt, Drop):
        return prompt
    sides = []
    for key in ("chosen", "rejected"):
        value = row[key]
        side = _answer(value) if isinstance(value, str) else to_messages(value, key)
        if isinstance(side, Drop):
            return side
        if not side or side[-1]["role"] != "assistant":
            raise DataError(f"{key!r} must end with the assistant's answer", "bad_roles")
        sides.append(side)
    return _split_common(prompt, sides)


def _split_common(prompt: Messages, sides: list[Messages]) -> tuple[Messages, str, str] | Drop:
    chosen, rejected = sides
    if chosen[:-1] != rejected[:-1]:
        return Drop("differ_earlier")
    shared = chosen[:-1]
    if shared and prompt and shared[-len(prompt) :] != prompt[-len(shared) :]:
        raise DataError("'prompt' and the conversation in 'chosen' differ", "bad_messages")
    context = max(shared, prompt, key=len)  # either may begin earlier, as with a system message
    return context, chosen[-1]["content"], rejected[-1]["content"]


def _hh(row: dict[str, Any]) -> tuple[Messages, str, str] | Drop:
    sides = []
    for key in ("chosen", "rejected"):
        side = parse_transcript(_text(row, key))
        if isinstance(side, Drop):
            return side
        if side[-1]["role"] != "assistant":
            return Drop("no_assistant_turn")
        sides.append(side)
    return _split_common([], sides)


def _pandalm(row: dict[str, Any]) -> tuple[Messages, str, str] | Drop:
    one, two = _text(row, "response1"), _text(row, "response2")
    sides = {0: None, 1: (one, two), 2: (two, one)}
    if row["label"] not in sides:
        raise DataError(f"label is {row['label']!r}, not 0 (tie), 1 or 2", "bad_label")
    better = sides[row["label"]]
    prompt = [{"role": "user", "content": _instruction(row)}]
    return Drop("tie") if better is None else (prompt, *better)


Columns = tuple[str, ...]
DOCUMENTS: dict[str, tuple[Columns, None]] = {"text": (("text",), None), "html": (("html",), None)}
CHATS: dict[str, tuple[Columns, Callable[[dict[str, Any]], Messages | Drop]]] = {
    "messages": (("messages",), lambda row: to_messages(row["messages"], "messages")),
    "sharegpt": (
        ("conversations",),
        lambda row: to_messages(row["conversations"], "conversations"),
    ),
    "alpaca": (
        ("instruction", "output"),
        lambda row: _exchange(_instruction(row), _text(row, "output")),
    ),
    "gsm8k": (
        ("question", "answer", "final"),
        lambda row: _exchange(_text(row, "question"), CALCULATOR.sub("", _text(row, "answer"))),
    ),
    "question_answer": (
        ("question", "answer"),
        lambda row: _exchange(_text(row, "question"), _text(row, "answer")),
    ),
    "prompt_response": (
        ("prompt", "response"),
        lambda row: _exchange(_text(row, "prompt"), _text(row, "response")),
    ),
}
PAIRS: dict[str, tuple[Columns, Callable[[dict[str, Any]], tuple[Messages, str, str] | Drop]]] = {
    "pairs": (("prompt", "chosen", "rejected"), lambda row: _pair_columns(row, "prompt")),
    "sharegpt": (
        ("conversations", "chosen", "rejected"),
        lambda row: _pair_columns(row, "conversations"),
    ),
    "hh": (("chosen", "rejected"), _hh),
    "messages": (("chosen", "rejected"), lambda row: _pair_columns(row, None)),
    "pandalm": (("instruction", "response1", "response2", "label"), _pandalm),
}
PROMPTS: dict[str, tuple[Columns, Callable[[dict[str, Any]], Messages | Drop]]] = {
    "prompt": (("prompt",), lambda row: to_messages(row["prompt"], "prompt")),
    "messages": CHATS["messages"],
    "sharegpt": CHATS["sharegpt"],
    "alpaca": (("instruction",), lambda row: _exchange(_instruction(row), "")),
    "gsm8k": (("question", "final"), lambda row: to_messages(_text(row, "question"), "question")),
    "question_answer": (("question",), lambda row: to_messages(_text(row, "question"), "question")),
}
FORMATS = tuple(DOCUMENTS | CHATS | PAIRS | PROMPTS)  # what `format` of a source may say

"""Convert rows of published data formats to documents, chats, preference pairs or prompts.

If `format` is null, it is detected row by row: the first format in the table of its kind
(DOCUMENTS, CHATS, PAIRS, PROMPTS) whose columns the row has, and not null (a union of tables has
nulls). Columns that a conversion does not use are kept; those that change what the row means are
rendered or refused (extra_columns.py). A malformed row raises DataError; a valid one with nothing
to learn from is returned as `Drop`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.chat_order import check_chat, check_order
from hfllm.data.reading.conversions import (
    answer_messages,
    asked,
    chat_column,
    completed,
    gsm8k,
    hh,
    is_transcript,
    pair_columns,
    pandalm,
)
from hfllm.data.reading.extra_columns import (
    GIVEN,
    HISTORY,
    REFUSED,
    REFUSED_IN_PROMPTS,
    SYSTEM,
    TOOLS,
    refuse,
    row_weight,
    text_of,
    tools_beside,
    with_system,
)
from hfllm.data.reading.messages import (
    has_tools,
    named,
    said,
    to_messages,
    without_answer,
    without_weights,
)

ALSO = (*GIVEN, HISTORY)  # columns that a format may read beside those that it needs


class Format(NamedTuple):
    """Columns that a format needs, how they become messages, and which others it reads."""

    columns: tuple[str, ...]
    convert: Callable[[dict[str, Any]], Any]
    also: tuple[str, ...] = ()


def as_document(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A document with `text`, or with `html` for curation to extract; a blank one: Drop("empty").

    Of a row with both columns, the one of the format is kept (by default the text).
    """
    column = format_of(row, format, DOCUMENTS)
    if not text_of(row, column).strip():
        return Drop("empty")
    other = "html" if column == "text" else "text"
    return {key: value for key, value in row.items() if key != other}


def as_chat(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A conversation in `messages` that ends with an assistant's answer."""
    used = CHATS[format_of(row, format, CHATS)]
    _refuse_pair(row)
    if drop := row_weight(row):
        return drop
    if isinstance(messages := used.convert(row), Drop):
        return messages
    messages, rest, tools = with_system(row, messages), rest_of(row, used), tools_beside(row)
    rest = {key: value for key, value in rest.items() if key not in TOOLS}
    refuse(rest, REFUSED)
    return check_chat(messages) or rest | tools | {"messages": messages}


def _refuse_pair(row: dict[str, Any]) -> None:
    """DataError for what is to be compared or learned to avoid, not to be imitated."""
    if said(row.get("chosen")) and said(row.get("rejected")):
        raise DataError(
            "the row is a preference pair ('chosen', 'rejected'), not a chat: read it in a step "
            "that trains on pairs, or set `ignore: [chosen, rejected]` on the source",
            "bad_messages",
        )
    if row.get("label") is False:
        raise DataError(
            "column 'label' is false (KTO's mark of a bad answer): set `where: {label: true}` on "
            "the source to train on the good ones, or `ignore: [label]`",
            "bad_label",
        )


def as_pair(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A preference pair: `prompt` ends with the user, `chosen` and `rejected` are one answer."""
    used = PAIRS[format_of(row, format, PAIRS)]
    if drop := row_weight(row):
        return drop
    if isinstance(sides := used.convert(row), Drop):
        return sides
    prompt, chosen, rejected = sides
    if has_tools(prompt) or tools_beside(row):
        return Drop("tool_role")  # only chats are rendered with tools
    prompt, rest = without_weights(with_system(row, prompt)), rest_of(row, used)
    refuse(rest, REFUSED)
    check_order(prompt, last="user")
    if not (chosen.strip() and rejected.strip()):
        return Drop("empty_answer")
    if chosen.strip() == rejected.strip():
        raise DataError("chosen and rejected are equal", "equal_sides")
    sides = {"chosen": answer_messages(chosen), "rejected": answer_messages(rejected)}
    return rest | {"prompt": prompt} | sides


def as_prompt(row: dict[str, Any], format: str | None = None) -> dict[str, Any] | Drop:
    """A prompt for generation: `prompt` ends with the user; other columns are kept for rewards.

    The gsm8k format gives the columns `answer` (the final number, as text or number, as it is),
    `check` ("number"), `solution`.
    """
    name = format_of(row, format, PROMPTS)
    used = PROMPTS[name]
    if isinstance(prompt := used.convert(row), Drop):
        return prompt
    if has_tools(prompt) or tools_beside(row):
        return Drop("tool_role")  # only chats are rendered with tools
    prompt = without_weights(without_answer(with_system(row, prompt)))
    refuse({key: row[key] for key in row if key not in used.also}, REFUSED_IN_PROMPTS)
    check_order(prompt, last="user")
    if not prompt[-1]["content"].strip():
        return Drop("empty_prompt")
    rest = {key: value for key, value in row.items() if key not in used.columns}
    if name == "gsm8k":
        rest |= {"answer": row["final"], "check": "number"}
        rest |= {"solution": row["answer"]} if "answer" in row else {}
    return rest | {"prompt": prompt}


def rest_of(row: dict[str, Any], used: Format) -> dict[str, Any]:
    """The columns that the conversion did not read."""
    read = (*used.columns, *used.also, *SYSTEM)
    return {key: value for key, value in row.items() if key not in read}


def columns_read(
    row: dict[str, Any], format: str | None, table: dict[str, Format]
) -> tuple[str, ...]:
    """The columns of a row that the conversion by a table (CHATS, PROMPTS) reads."""
    used = table[format_of(row, format, table)]
    return (*used.columns, *used.also, *SYSTEM, *TOOLS)


def format_of(row: dict[str, Any], format: str | None, table: dict[str, Format]) -> str:
    """The format's name, detected if None is given; DataError names the columns of the row."""
    if format is not None:
        if format not in table:
            raise DataError(
                f"format {format!r} does not fit here; known: {', '.join(table)}", "missing_column"
            )
        missing = [key for key in table[format].columns if key not in row]
        if missing:
            raise DataError(
                f"format {format!r} needs the column {missing[0]!r}; the row has: {named(row)}",
                "missing_column",
            )
        return format
    there = [key for key, value in row.items() if value is not None]
    for keys in (there, list(row)):  # a null counts where nothing else fits: it is then named
        if (name := _first_fit(row, keys, table)) is not None:
            return name
    wanted = " or ".join(dict.fromkeys("+".join(fit.columns) for fit in table.values()))
    others = [kind for kind, known in KINDS.items() if _first_fit(row, there, known)]
    hint = f", which is {' or '.join(others)}" if others else ""
    raise DataError(
        f"no column {wanted}; the row has: {named(row)}{hint} (rename them with `columns`)",
        "missing_column",
    )


def _first_fit(row: dict[str, Any], keys: list[str], table: dict[str, Format]) -> str | None:
    """The first format whose columns are among `keys`."""
    for name, fit in table.items():
        fits = all(key in keys for key in fit.columns)
        if fits and (name != "hh" or is_transcript(row["chosen"])):
            return name
    return None


DOCUMENTS = {
    "text": Format(("text",), lambda row: text_of(row, "text")),
    "html": Format(("html",), lambda row: text_of(row, "html")),
}
CHATS = {
    "messages": Format(("messages",), chat_column("messages")),
    "sharegpt": Format(("conversations",), chat_column("conversations")),
    "alpaca": Format(("instruction", "output"), asked("instruction", "output"), ALSO),
    "dolly": Format(("instruction", "response"), asked("instruction", "response"), ALSO),
    "gsm8k": Format(("question", "answer", "final"), gsm8k, ALSO),
    "question_answer": Format(("question", "answer"), asked("question", "answer"), ALSO),
    "question_response": Format(("question", "response"), asked("question", "response"), ALSO),
    "prompt_response": Format(("prompt", "response"), asked("prompt", "response"), ALSO),
    "prompt_completion": Format(("prompt", "completion"), completed),
}
PAIRS = {
    "pairs": Format(("prompt", "chosen", "rejected"), lambda row: pair_columns(row, "prompt")),
    "sharegpt": Format(
        ("conversations", "chosen", "rejected"), lambda row: pair_columns(row, "conversations")
    ),
    "hh": Format(("chosen", "rejected"), hh),
    "messages": Format(("chosen", "rejected"), lambda row: pair_columns(row, None)),
    "pandalm": Format(("instruction", "response1", "response2", "label"), pandalm, ALSO),
}
LABELLED = {  # an answer that is good (true) or bad (labelled.py); pairs are read as two of them
    "prompt_completion": Format(("prompt", "completion", "label"), completed),
    "prompt_response": Format(("prompt", "response", "label"), asked("prompt", "response"), ALSO),
    "messages": Format(("messages", "label"), chat_column("messages")),
    "sharegpt": Format(("conversations", "label"), chat_column("conversations")),
    "alpaca": Format(("instruction", "output", "label"), asked("instruction", "output"), ALSO),
}
PROMPTS = {
    "prompt": Format(("prompt",), lambda row: to_messages(row["prompt"], "prompt")),
    "messages": CHATS["messages"],
    "sharegpt": CHATS["sharegpt"],
    "alpaca": Format(("instruction",), asked("instruction"), ALSO),
    "gsm8k": Format(("question", "final"), asked("question"), ALSO),
    "question_answer": Format(("question",), asked("question"), ALSO),
}
KINDS = {  # for messages
    "a document": DOCUMENTS,
    "a chat": CHATS,
    "a preference pair": PAIRS,
    "a labelled answer": LABELLED,
    "a prompt": PROMPTS,
}
FORMATS = tuple(DOCUMENTS | CHATS | PAIRS | LABELLED | PROMPTS)  # what `format` of a source may say

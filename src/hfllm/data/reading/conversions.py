"""Convert the columns of each published format to messages: the functions of formats.py's tables.

Each takes a row and returns messages (pairs: prompt, chosen and rejected answer), or `Drop(reason)`
for a sound row that teaches nothing, or raises DataError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.extra_columns import instruction, text_of
from hfllm.data.reading.messages import (
    Messages,
    has_tools,
    parse_transcript,
    to_chat,
    to_messages,
    without_weights,
)

CALCULATOR = re.compile(r"<<[^<>]*>>")  # gsm8k: "9 * 2 = $<<9*2=18>>18"


def answer_messages(text: str) -> Messages:
    """An answer as messages."""
    return [{"role": "assistant", "content": text}]


def is_transcript(value: Any) -> bool:
    """Whether a value is a transcript of Anthropic's hh-rlhf."""
    return isinstance(value, str) and value.startswith("\n\nHuman:")


def exchange(question: Messages, answer: str) -> Messages:
    """The question with its answer."""
    return [*question, *answer_messages(answer)]


def asked(key: str, answer: str | None = None) -> Callable[[dict[str, Any]], Messages]:
    """The conversion of a question in one column, and an answer in another."""

    def convert(row: dict[str, Any]) -> Messages:
        question = instruction(row, key)
        return question if answer is None else exchange(question, text_of(row, answer))

    return convert


def completed(row: dict[str, Any]) -> Messages:
    """TRL's prompt and completion, which are texts or messages."""
    answer = row["completion"]
    prompt = to_messages(row["prompt"], "prompt")
    side = answer_messages(answer) if isinstance(answer, str) else to_messages(answer, "completion")
    return [*prompt, *side]


def gsm8k(row: dict[str, Any]) -> Messages:
    """A question and its worked solution, without the marks for a calculator."""
    answer = CALCULATOR.sub("", text_of(row, "answer"))
    return exchange(instruction(row, "question"), answer)


def pair_columns(row: dict[str, Any], context: str | None) -> tuple[Messages, str, str] | Drop:
    """(prompt, chosen, rejected) of columns that are strings, messages or whole conversations."""
    prompt = to_messages(row[context], context) if context else []
    if has_tools(prompt):
        return Drop("tool_role")
    sides = []
    for key in ("chosen", "rejected"):
        value = row[key]
        side = answer_messages(value) if isinstance(value, str) else to_messages(value, key)
        if has_tools(side):
            return Drop("tool_role")
        if not side or side[-1]["role"] != "assistant":
            raise DataError(f"{key!r} must end with the assistant's answer", "bad_roles")
        sides.append(without_weights(side))
    return _split_common(without_weights(prompt), sides)


def _split_common(prompt: Messages, sides: list[Messages]) -> tuple[Messages, str, str] | Drop:
    chosen, rejected = sides
    if chosen[:-1] != rejected[:-1]:
        return Drop("differ_earlier")
    shared = chosen[:-1]
    if shared and prompt and shared[-len(prompt) :] != prompt[-len(shared) :]:
        raise DataError("'prompt' and the conversation in 'chosen' differ", "bad_messages")
    context = max(shared, prompt, key=len)  # either may begin earlier, as with a system message
    return context, chosen[-1]["content"], rejected[-1]["content"]


def hh(row: dict[str, Any]) -> tuple[Messages, str, str] | Drop:
    """Two transcripts (Anthropic's hh-rlhf) that differ in the last answer."""
    sides = []
    for key in ("chosen", "rejected"):
        side = parse_transcript(text_of(row, key))
        if isinstance(side, Drop):
            return side
        if side[-1]["role"] != "assistant":
            return Drop("no_assistant_turn")
        sides.append(side)
    return _split_common([], sides)


def pandalm(row: dict[str, Any]) -> tuple[Messages, str, str] | Drop:
    """An instruction, two responses, and the label: 1 or 2 is better, 0 a tie."""
    one, two = text_of(row, "response1"), text_of(row, "response2")
    sides = {0: None, 1: (one, two), 2: (two, one)}
    if not isinstance(row["label"], int) or row["label"] not in sides:
        raise DataError(f"label is {row['label']!r}, not 0 (tie), 1 or 2", "bad_label")
    better, prompt = sides[row["label"]], instruction(row, "instruction")
    return Drop("tie") if better is None else (prompt, *better)


def chat_column(key: str) -> Callable[[dict[str, Any]], Messages]:
    """The conversion of a column that holds the whole chat."""
    return lambda row: to_chat(row[key], key)

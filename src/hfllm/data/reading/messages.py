"""Convert lists of messages to {"role", "content"}, and check the order of the roles.

A chat is an optional system message, then user and assistant in turn. A chat in another order is
malformed (DataError); one with nothing to learn from (no answer, an empty answer) is a `Drop`.
"""

from __future__ import annotations

import re
from typing import Any

from hfllm.data.ledger import DataError, Drop

Messages = list[dict[str, str]]

ROLES = {
    "system": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip
TOOL_ROLES = {"tool", "function", "function_call", "observation", "ipython"}  # not rendered yet
TURN = re.compile(r"\n\n(Human|Assistant):")


def to_messages(value: Any, column: str) -> Messages | Drop:
    """Convert role/content or from/value dicts; a string becomes one user message.

    Raises DataError, naming `column`, for a value that is no list of messages; an unsupported role
    (tools) is a `Drop`.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise DataError(f"{column!r} is {_kind(value)}, not a list of messages", "bad_messages")
    out: Messages = []
    for number, message in enumerate(value):
        one = _to_message(message, f"{column}[{number}]")
        if isinstance(one, Drop):
            return one
        out.append(one)
    return out


def _to_message(message: Any, at: str) -> dict[str, str] | Drop:
    if not isinstance(message, dict):
        raise DataError(f"{at} is {_kind(message)}, not a message", "bad_messages")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if role in TOOL_ROLES or message.get("tool_calls"):
        return Drop("tool_role")
    if role not in ROLES:
        raise DataError(
            f"{at} has the unknown role {role!r}; known: {', '.join(ROLES)}", "bad_roles"
        )
    if not isinstance(content, str):
        raise DataError(f"{at} has {_kind(content)} as content, not text", "bad_messages")
    return {"role": ROLES[role], "content": content}


def parse_transcript(text: str) -> Messages | Drop:
    r"""Messages of a transcript of Anthropic's hh-rlhf ("\n\nHuman: ... \n\nAssistant: ...").

    Two consecutive turns of one speaker, which occur in the published data, are a `Drop`.
    """
    before, *parts = TURN.split(text)
    if before.strip() or not parts:
        raise DataError(r"a transcript must start with '\n\nHuman:'", "bad_messages")
    names = {"Human": "user", "Assistant": "assistant"}
    out = [
        {"role": names[who], "content": what.strip()}
        for who, what in zip(parts[::2], parts[1::2], strict=True)
    ]
    if any(one["role"] == two["role"] for one, two in zip(out, out[1:], strict=False)):
        return Drop("double_turn")
    return out


def check_order(messages: Messages, last: str) -> None:
    """Raise DataError unless: optional system, then user, assistant ... in turn, `last` last."""
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for number, message in enumerate(turns):
        wanted = ("user", "assistant")[number % 2]
        if message["role"] != wanted:
            at = f"message {number + len(messages) - len(turns) + 1} of {len(messages)}"
            raise DataError(f"{at} is by {message['role']}, must be by {wanted}", "bad_roles")
    if not turns or turns[-1]["role"] != last:
        raise DataError(f"the last message must be by {last}", "bad_roles")


def check_chat(messages: Messages) -> Drop | None:
    """Check the order of a conversation (DataError); a `Drop` if an answer or turn is empty."""
    roles = {message["role"] for message in messages}
    if "assistant" not in roles:
        return Drop("no_assistant_turn")
    check_order(messages, last="assistant")
    if not messages[-1]["content"].strip():
        return Drop("empty_answer")
    return None if all(m["content"].strip() for m in messages) else Drop("empty_turn")


def without_answer(messages: Messages) -> Messages:
    """The conversation without its last answer: the prompt for it."""
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"

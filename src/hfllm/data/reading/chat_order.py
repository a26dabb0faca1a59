"""Check the order of a conversation's roles, and that it has something to train on.

A chat is an optional system message, then user and assistant in turn; the results of an assistant's
calls of tools come before it speaks again. A chat in another order is malformed (DataError); one
with nothing to learn from (no answer, an empty answer) is a `Drop`.
"""

from __future__ import annotations

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.messages import Messages

# by whom the next message must be
FOLLOWS = {"user": ("assistant",), "assistant": ("user",), "tool": ("assistant", "tool")}


def check_order(messages: Messages, last: str) -> None:
    """Raise DataError unless: optional system, then user, assistant ... in turn, `last` last.

    After an assistant's calls come their results (role "tool"), then the assistant again.
    """
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    wanted: tuple[str, ...] = ("user",)
    for number, message in enumerate(turns):
        if message["role"] not in wanted:
            at = f"message {number + len(messages) - len(turns) + 1} of {len(messages)}"
            by = f"is by {message['role']}, must be by {' or '.join(wanted)}"
            raise DataError(f"{at} {by}", "bad_roles")
        wanted = ("tool",) if message.get("tool_calls") else FOLLOWS[message["role"]]
    if not turns or turns[-1]["role"] != last:
        raise DataError(f"the last message must be by {last}", "bad_roles")


def check_chat(messages: Messages) -> Drop | None:
    """Check the order of a conversation (DataError); a `Drop` if it has nothing to train on."""
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        return Drop("no_assistant_turn")
    check_order(messages, last="assistant")
    if not (messages[-1]["content"].strip() or messages[-1].get("tool_calls")):
        return Drop("empty_answer")
    if all("weight" in answer for answer in answers):
        return Drop("weight_0")
    spoken = (m for m in messages if m["role"] != "tool" and not m.get("tool_calls"))
    return None if all(m["content"].strip() for m in spoken) else Drop("empty_turn")

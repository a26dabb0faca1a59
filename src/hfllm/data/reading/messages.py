"""Convert lists of messages to {"role", "content"}, with calls of tools and their results.

A message keeps `weight: 0` if it says that its answer is not to be trained. Keys that change what a
message means and are not supported are refused, others are not read (`unread_keys`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.tool_turns import CALL_ROLES, RESULT_ROLES, calls_of

Message = dict[str, Any]
Messages = list[Message]

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip
TURN = re.compile(r"\n\n(Human|Assistant):")
IS_TRAINED = ("weight", "train", "training", "trainable", "train_on_turn", "loss", "loss_weight")
PLAIN = {"role", "from", "content", "value"}
READ = ("role", "from", "content", "value", "tool_calls", "tool_call_id", *IS_TRAINED)
# What changes the meaning of a message and is not supported, by key.
REFUSED = {
    "name": "who speaks",
    **dict.fromkeys(("reasoning_content", "reasoning", "thinking", "thoughts"), "thoughts"),
    **dict.fromkeys(("image", "images", "audio", "audios", "video", "videos"), "no text"),
    **dict.fromkeys(("mask", "masked", "train_detail", "loss_mask"), "what is not trained"),
    "prefix": "an answer that was begun for the model",
}
IGNORE = "move it into the content, or set `ignore: [{}]` on the source"


def to_messages(value: Any, column: str) -> Messages:
    """Convert role/content or from/value dicts; a string becomes one user message.

    A struct of lists ({"role": [...], "content": [...]}) is a list of structs. Calls of tools are
    part of the assistant's message before them (tool_turns.py).

    Raises DataError, naming `column`, for a value that is no list of messages.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, dict):
        value = _from_columns(value, column)
    if not isinstance(value, list):
        raise DataError(f"{column!r} is {kind_of(value)}, not a list of messages", "bad_messages")
    out: Messages = []
    for number, message in enumerate(value):
        one = _to_message(message, f"{column}[{number}]")
        begun = out and one.get("tool_calls") and out[-1]["role"] == "assistant"
        if begun and not one["content"]:
            out[-1]["tool_calls"] = [*out[-1].get("tool_calls", []), *one["tool_calls"]]
        else:
            out.append(one)
    return out


def to_chat(value: Any, column: str) -> Messages:
    """`to_messages` for a column that holds a whole chat, which may be a list written as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(
                f"{column!r} is text that begins as JSON and is not", "bad_messages"
            ) from None
    return to_messages(value, column)


def _from_columns(value: dict[str, Any], column: str) -> list[Any]:
    """The messages of a struct of lists, as Arrow and `datasets` write it; or of one message."""
    lists = {key: each for key, each in value.items() if isinstance(each, list)}
    if not any(isinstance(value.get(key), list) for key in ("role", "from")):
        return [value]
    if len({len(each) for each in lists.values()}) != 1:
        lengths = ", ".join(f"{len(each)} {key}" for key, each in lists.items())
        raise DataError(f"{column!r} has lists of different lengths: {lengths}", "bad_messages")
    columns = zip(*lists.values(), strict=True)
    return [dict(zip(lists, values, strict=True)) for values in columns]


def _to_message(message: Any, at: str) -> Message:
    if not isinstance(message, dict):
        raise DataError(f"{at} is {kind_of(message)}, not a message", "bad_messages")
    role, content = _first(message, "role", "from"), _first(message, "content", "value")
    name = role.strip().lower() if isinstance(role, str) else role
    if isinstance(name, str) and name in RESULT_ROLES:
        return _result(message, content, at)
    if isinstance(name, str) and name in CALL_ROLES:
        return {"role": "assistant", "content": "", "tool_calls": calls_of(content, at)}
    if not isinstance(name, str) or name not in ROLES:
        raise DataError(
            f"{at} has the unknown role {role!r:.60}; known: {', '.join(ROLES)}", "bad_roles"
        )
    out: Message = {"role": ROLES[name]}
    if message.keys() <= PLAIN:  # nothing else to look at, as in most rows
        return out | {"content": _text_of(content, at)}
    for key in REFUSED.keys() & message.keys():
        if said(message[key]):
            why = REFUSED[key]
            raise DataError(f"{at} has {key!r} ({why}): {IGNORE.format(key)}", "not_supported")
    calls = _first(message, "tool_calls", "function_call")
    if said(calls):
        text = "" if content is None or content == [] else _text_of(content, at)
        out |= {"content": text, "tool_calls": calls_of(calls, at)}
    else:
        out["content"] = _text_of(content, at)
    return out | ({} if _is_trained(message, out["role"], at) else {"weight": 0})


def _result(message: dict[str, Any], content: Any, at: str) -> Message:
    """The message of a tool's result, which may be any JSON value."""
    plain = isinstance(content, str | list) and content != []
    text = _text_of(content, at) if plain else json.dumps(content, ensure_ascii=False)
    kept = {key: message[key] for key in ("name", "tool_call_id") if said(message.get(key))}
    return {"role": "tool", "content": text, **kept}


def _first(message: dict[str, Any], key: str, other: str) -> Any:
    """The value of one of two keys, the first that is not null: a union of shapes has nulls."""
    value = message.get(key)
    return message.get(other) if value is None else value


def said(value: Any) -> bool:
    """Whether a column or key says anything: not null, false or empty."""
    return not (value is None or value is False or value in ("", [], {}))


def _text_of(content: Any, at: str) -> str:
    """The text of a content; parts of the type text are joined, others refused."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise DataError(f"{at} has {kind_of(content)} as content, not text", "bad_messages")
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if _is_text(part) else None
        if not isinstance(text, str):
            what = part.get("type") if isinstance(part, dict) else kind_of(part)
            raise DataError(f"{at} has a part that is no text: {what!r:.60}", "not_supported")
        texts.append(text)
    return "".join(texts)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type", "text") in ("text", "input_text", None)


def _is_trained(message: dict[str, Any], role: str, at: str) -> bool:
    """Whether an answer may be trained: `weight: 0` and `train: false` say that it is context."""
    trained = True
    for key in IS_TRAINED:
        value = message.get(key)
        if value is None:
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise DataError(
                f"{at} has {key} {value!r:.60}: only 0 (context) and 1 (trained) are supported",
                "not_supported",
            )
        if value and role != "assistant":
            raise DataError(
                f"{at} has {key} {value!r}, but only answers are trained, never a {role}'s turn; "
                f"leave the key out, or set `ignore: [{key}]` on the source",
                "not_supported",
            )
        trained = trained and bool(value)
    return trained or role != "assistant"


def unread_keys(value: Any) -> Iterator[str]:
    """The keys of messages that `to_messages` does not read, once for each message."""
    messages = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    for message in messages:
        if isinstance(message, dict) and not message.keys() <= PLAIN:
            yield from (k for k, v in message.items() if k not in READ and said(v))


def parse_transcript(text: str) -> Messages | Drop:
    r"""Messages of a transcript of Anthropic's hh-rlhf ("\n\nHuman: ... \n\nAssistant: ...").

    Two consecutive turns of one speaker, which occur in the published data, are a `Drop`.
    """
    before, *parts = TURN.split(text)
    if before.strip() or not parts:
        raise DataError(r"a transcript must start with '\n\nHuman:'", "bad_messages")
    names = {"Human": "user", "Assistant": "assistant"}
    out: Messages = [
        {"role": names[who], "content": what.strip()}
        for who, what in zip(parts[::2], parts[1::2], strict=True)
    ]
    if any(one["role"] == two["role"] for one, two in zip(out, out[1:], strict=False)):
        return Drop("double_turn")
    return out


def without_answer(messages: Messages) -> Messages:
    """The conversation without its last answer: the prompt for it."""
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def without_weights(messages: Messages) -> Messages:
    """The messages where no context is trained anyway (pairs, prompts): without `weight`."""
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def has_tools(messages: Messages) -> bool:
    """Whether there are calls of tools or their results."""
    return any(one["role"] == "tool" or "tool_calls" in one for one in messages)


def kind_of(value: Any) -> str:
    """What a value is, for a message."""
    return "null" if value is None else f"of type {type(value).__name__}"


def named(row: Iterable[Any], most: int = 20) -> str:
    """The names of a row's own columns, for a message: long ones cut, at most `most` of them."""
    added = getattr(row, "added", ())
    names = [f"{str(name)!r:.40}".strip("'\"") for name in row if name not in added]
    return ", ".join(names[:most] + ["..."] * (len(names) > most))

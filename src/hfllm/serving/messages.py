"""The messages of a request: roles and texts, in the shape that the chat template is given."""

from __future__ import annotations

from typing import Any

from hfllm.inference.prompts import Message
from hfllm.serving.errors import ApiError
from hfllm.tokenization.encode import check_unicode

# OpenAI's newer models call the system message the developer's.
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# Keys of the answers that clients send back; templates do not write them.
BESIDE = ("name", "refusal", "annotations", "audio", "tool_calls", "function_call")


def read_messages(given: Any) -> list[Message]:
    """Messages with a role and a text.

    Raises:
        ApiError: there is none, a role is unknown, or a content is no text.
    """
    if not isinstance(given, list) or not given:
        raise ApiError("messages must be a list of at least one message", param="messages")
    return [_message(message, f"messages[{i}]") for i, message in enumerate(given)]


def _message(message: Any, place: str) -> Message:
    if not isinstance(message, dict):
        raise ApiError(f"{place} must be an object with role and content", param=place)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise ApiError(
            f"{place}.role must be one of {', '.join(ROLES)} (tools are not offered)",
            param=f"{place}.role",
        )
    for key, value in message.items():
        if key in ("role", "content") or value is None or value == []:
            continue
        if key not in BESIDE or key in ("tool_calls", "function_call", "audio"):
            raise ApiError(f"{place}.{key[:60]} is not offered by this server", param=place)
    text = _text(content, f"{place}.content")
    try:
        check_unicode(text, f"{place}.content")
    except ValueError as error:
        raise ApiError(str(error).split(";")[0], param=f"{place}.content") from None
    return {"role": ROLES[role], "content": text}


def _text(content: Any, place: str) -> str:
    """A text, or text parts joined by line breaks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise ApiError(f"{place} must be a text, or a list of text parts", param=place)
    for i, part in enumerate(content):
        is_text = isinstance(part, dict) and part.get("type") == "text"
        if not is_text or not isinstance(part.get("text"), str):
            raise ApiError(
                f'{place}[{i}] must be {{"type": "text", "text": ...}}; images and sound are not '
                "offered",
                param=f"{place}[{i}]",
            )
    return "\n".join(part["text"] for part in content)

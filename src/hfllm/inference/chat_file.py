"""Conversations in a file: a chat a line, {"messages": [...], "model": NAME}, as `sft` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hfllm.inference.prompts import Message
from hfllm.runs.manifest import write_lines

ROLES = ("system", "user", "assistant")


def save_chat(talks: Sequence[tuple[str, list[Message]]], name: str) -> str:
    """Write the messages of each model (name, messages); returns what to say.

    Raises:
        ValueError: no name, a file that exists, or nothing was said yet (one line).
    """
    path = _path(name, "/save")
    if path.exists():
        raise ValueError(f"{path}: exists already; name another file")
    if not any(message["role"] == "assistant" for _, messages in talks for message in messages):
        raise ValueError("nothing was answered yet")
    rows = [
        {"messages": list(messages)} | ({"model": model} if model else {})
        for model, messages in talks
    ]
    write_lines(path, rows)
    return f"(saved to {path})"


def load_chat(models: Sequence[str], name: str) -> tuple[list[list[Message]], str]:
    """The messages for each model: its own chat, else the only one of the file; and what to say.

    Raises:
        ValueError: no such file, a line that is no chat, or no chat for a model (one line).
    """
    path = _path(name, "/load")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; /save FILE writes one")
    text = path.read_text(encoding="utf-8", errors="replace")
    chats = [
        _chat(line, f"{path}:{at}") for at, line in enumerate(text.split("\n"), 1) if line.strip()
    ]
    if not chats:
        raise ValueError(f"{path}: holds no chat")
    out = []
    for model in models:
        own = [messages for named, messages in chats if named == model]
        if not own and len(chats) > 1:
            raise ValueError(
                f"{path}: holds {len(chats)} chats, and none of {model or 'this model'}"
            )
        out.append(list((own or [chats[0][1]])[0]))
    turns = sum(message["role"] == "user" for message in out[0])
    return out, f"({path}: the conversation goes on after {turns} questions)"


def _path(name: str, command: str) -> Path:
    if not name:
        raise ValueError(f"{command} needs the name of a file")
    return Path(name).expanduser()


def _chat(line: str, place: str) -> tuple[str, list[Message]]:
    try:
        row = json.loads(line)
        messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{place}: no chat: it needs messages with role and content") from None
    roles = [message["role"] for message in messages]
    turns = roles[roles[:1] == ["system"] :]
    if not all(isinstance(m["content"], str) and m["role"] in ROLES for m in messages):
        raise ValueError(f"{place}: no chat in text: roles are {', '.join(ROLES)}")
    if turns != ["user", "assistant"] * (len(turns) // 2):
        raise ValueError(f"{place}: its turns are not user and assistant in turn, to an answer")
    return str(row.get("model") or ""), messages

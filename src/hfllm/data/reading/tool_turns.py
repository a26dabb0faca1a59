"""Tool calls of published chats in the form that chat templates take (transformers' own).

A call is {"type": "function", "function": {"name", "arguments": dict}} in `tool_calls` of an
assistant's message, whose text may be empty; its result is a message of the role "tool"; the tools
that may be called are JSON schemas in `tools`. Whether a template writes them is found when it is
rendered (tokenization/render.py).
"""

from __future__ import annotations

import json
from typing import Any

from hfllm.data.ledger import DataError

RESULT_ROLES = ("tool", "function", "observation", "ipython", "tool_response")
CALL_ROLES = ("function_call", "tool_call")


def calls_of(value: Any, at: str) -> list[dict[str, Any]]:
    """The calls of a message: a list of calls, one, or JSON text of either (ShareGPT)."""
    value = _parsed(value, at, "a call")
    return [_call(one, at) for one in (value if isinstance(value, list) else [value])]


def _call(value: Any, at: str) -> dict[str, Any]:
    given = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise DataError(f"{at} has a call without the name of a function", "bad_tools")
    arguments = given.get("arguments", given.get("parameters"))
    arguments = {} if arguments is None else _parsed(arguments, at, "the arguments of a call")
    if not isinstance(arguments, dict):
        raise DataError(f"{at} has arguments of a call that are no object", "bad_tools")
    named = {"id": value["id"]} if isinstance(value.get("id"), str) else {}
    function = {"name": given["name"], "arguments": arguments}
    return {**named, "type": "function", "function": function}


def tools_of(value: Any) -> list[dict[str, Any]]:
    """The tools of a row: a list of JSON schemas, or its JSON text; [] for none."""
    value = _parsed(value, "column 'tools'", "a list of tools") if value else []
    tools = value if isinstance(value, list) else [value]
    for tool in tools:
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise DataError("column 'tools' has a tool without a name", "bad_tools")
    return [
        tool if "function" in tool else {"type": "function", "function": tool} for tool in tools
    ]


def _parsed(value: Any, at: str, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DataError(f"{at} has {what} that is no JSON: {value!r:.60}", "bad_tools") from None

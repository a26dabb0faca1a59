"""Apply a tokenizer's chat template: messages -> text, whatever form the template reads them in.

Published templates differ in what they take. Some tokenizers have several under names: the one
named `default` is taken, as transformers does. Some read a content as a list of parts
([{"type": "text", "text": ...}], SmolVLM, Idefics) and write nothing of a plain text: which roles
are read so is found by rendering placeholders. A template is a program: what it raises is told in
one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None
DEFAULT = "default"
PROBE = "\ue0f2"  # a private-use character, which no template writes by itself
# What a template's expressions raise on a form of message that it does not expect.
PYTHON_ERRORS = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


def take_default_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Set the template named `default` of a tokenizer with several; return a note, "" for none.

    Raises ValueError if no one of several is the default.
    """
    named: Any = tokenizer.chat_template
    if not isinstance(named, dict):
        return ""
    if DEFAULT not in named and len(named) != 1:
        raise ValueError(_several(tokenizer))
    name = DEFAULT if DEFAULT in named else next(iter(named))
    tokenizer.chat_template = named[name]
    others = ", ".join(key for key in named if key != name)
    left = f" ({others} left out: no tools or documents are rendered here)" if others else ""
    return f"chat template: the tokenizer has several, '{name}' is taken{left}"


def _several(tokenizer: PreTrainedTokenizerBase) -> str:
    names = ", ".join(cast(Any, tokenizer.chat_template))
    return (
        f"the tokenizer {tokenizer.name_or_path!r} has the chat templates {names} and none is "
        "named default: save one as a .jinja file and set chat_template to it"
    )


def render_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    add_generation_prompt: bool,
    tools: Tools = None,
) -> tuple[str, list[tuple[int, int]]]:
    """Render a conversation as text, and the spans (begin, end) inside `{% generation %}` markers.

    Args:
        tokenizer: with a chat template.
        messages: dicts with `role` and `content`.
        add_generation_prompt: as in `apply_chat_template`.
        tools: JSON schemas of the tools that may be called, as in `apply_chat_template`.

    Raises:
        ValueError: the tokenizer has no template, or the template refuses the messages.
    """
    template: Any = tokenizer.chat_template
    if isinstance(template, dict) and (DEFAULT in template or len(template) == 1):
        template = template.get(DEFAULT) or next(iter(template.values()))
    if not isinstance(template, str):
        raise ValueError(
            _several(tokenizer)
            if template
            else f"the tokenizer {tokenizer.name_or_path!r} has no chat template; set "
            "chat_template in the sft step: hfllm, or a .jinja file"
        )
    known: dict[str, Any] = tokenizer.special_tokens_map
    special = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in known.items())
    parts = _roles_in_parts(template, special, any(m["role"] == "system" for m in messages))
    given = [_message(message, message["role"] in parts) for message in messages]
    try:
        return _render(template, special, given, add_generation_prompt, tools)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the chat template: {error.message}") from error
    except (TemplateError, *PYTHON_ERRORS) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        why = str(error) or type(error).__name__
        raise ValueError(f"the chat template refuses the roles {roles}: {why}") from error


def _message(message: Mapping[str, Any], in_parts: bool) -> dict[str, Any]:
    if not in_parts:
        return dict(message)
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _render(
    template: str,
    special: tuple,
    messages: list[dict[str, Any]],
    add_generation_prompt: bool,
    tools: Tools = None,
) -> tuple[str, list[tuple[int, int]]]:
    """What apply_chat_template(tokenize=False) does, with the marked spans in characters."""
    rendered: Any = render_jinja_template(
        [messages],
        tools=list(tools) if tools else None,  # type: ignore[arg-type]
        chat_template=template,
        return_assistant_tokens_mask=has_markers(template),
        add_generation_prompt=add_generation_prompt,
        **dict(special),
    )
    texts, spans = rendered
    return texts[0], spans[0] if spans else []


@lru_cache(maxsize=32)
def has_markers(template: str) -> bool:
    """Whether a template has `{% generation %}` markers."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None


@lru_cache(maxsize=32)
def _roles_in_parts(template: str, special: tuple, with_system: bool) -> frozenset[str]:
    """The roles whose content the template reads as a list of parts; none if it reads plain text.

    The first way, of those below, in which every content of a probe is written.
    """
    roles = ("system", "user", "assistant") if with_system else ("user", "assistant")
    ways: list[set[str]] = [set(), {*roles, "tool"}, {"user", "assistant", "tool"}]
    ways += [{"user"}, {"assistant"}, {"system"}, {"system", "user"}, {"system", "assistant"}]
    for way in ways:
        probe = [_message({"role": r, "content": PROBE}, r in way) for r in roles]
        try:
            text, _ = _render(template, special, probe, False)
        except (TemplateError, *PYTHON_ERRORS):
            continue
        if text.count(PROBE) >= len(roles):
            return frozenset(way)
    return frozenset()

"""Find out whether a chat template writes the tools of a conversation, their calls and results.

A template may pass over what it does not know without a word: each kind is left out once, and the
text must become another.
"""

from __future__ import annotations

import json
import re

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.apply_template import Messages, Tools, render_text


def uses_tools(messages: Messages) -> bool:
    """Whether a conversation has calls of tools or their results."""
    return any(message["role"] == "tool" or message.get("tool_calls") for message in messages)


def check_tools_written(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    add_generation_prompt: bool,
    tools: Tools,
    control: re.Pattern[str],
) -> None:
    """ValueError if the template does not write calls or tools, or they spell a control token.

    Args:
        tokenizer: with a chat template.
        messages: whose contents may be placeholders.
        add_generation_prompt: as in `apply_chat_template`.
        tools: as in `apply_chat_template`.
        control: matches the tokenizer's control tokens.
    """
    if control.search(json.dumps([tools, [one.get("tool_calls") for one in messages]])):
        raise ValueError("a call or the description of a tool spells a control token")
    text, _ = render_text(tokenizer, messages, add_generation_prompt, tools)
    plain = [{"role": one["role"], "content": one["content"]} for one in messages]
    for what, others in (("calls of tools", (plain, tools)), ("tools", (messages, None))):
        if others == (messages, tools):
            continue
        try:
            without, _ = render_text(tokenizer, others[0], add_generation_prompt, others[1])
        except ValueError:
            continue  # it does look at them
        if without == text:
            raise ValueError(f"the chat template does not write {what}")

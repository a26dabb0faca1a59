"""Find what a chat template writes around the messages' contents, by rendering placeholders.

In order, once per sequence of roles: render the template with a placeholder (private-use
characters) for every content; split the text at the placeholders (`pieces`); for every assistant
turn find where its prompt ends (the conversation up to the turn, rendered with the generation
prompt: it must be a prefix of the text, or training and inference differ) and where the turn ends
(its end-of-turn token).

Why not `return_assistant_tokens_mask`: most published templates have no `{% generation %}` markers
and give masks of zeros, some markers leave the end-of-turn token outside, and none prevents that
control tokens spelled by the user become control tokens. Markers decide which turns are trained;
where a turn starts and ends is found here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.apply_template import Messages, Tools, has_markers, render_text
from hfllm.tokenization.tools import check_tools_written, uses_tools

_PLACEHOLDER = "\ue0f0{}\ue0f1"
_PLACEHOLDERS = re.compile("\ue0f0([0-9]+)\ue0f1")


@dataclass(frozen=True)
class Turn:
    """A trained turn: from an offset in the piece before its content to one in the next piece.

    A turn that only calls tools has no content of its own: it is all in one piece.
    """

    message: int
    first: int  # index of the piece in which it starts
    start: int  # offset in that piece: the end of the prompt
    last: int  # index of the piece in which it ends
    end: int  # offset in that piece: after the end-of-turn token


@dataclass(frozen=True)
class Plan:
    """A template's text for one sequence of roles: pieces[0] content[0] pieces[1] content[1] ...

    Calls of tools are the template's text, so in the pieces; `written` are the messages that have
    a content, in order: all but those that only call tools.

    A turn cannot be trained if its prompt is not a prefix of the conversation, or if it does not
    end with the end-of-turn token (`problems`).
    """

    pieces: tuple[str, ...]
    turns: tuple[Turn, ...]  # the assistant's, in order
    problems: dict[int, str]  # assistant messages that cannot be trained, and why
    written: tuple[int, ...]
    control: re.Pattern[str]  # matches the tokenizer's control tokens
    adds_space: bool  # the tokenizer puts a space before a text (SentencePiece)


_plans: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple, Plan]] = WeakKeyDictionary()


def plan_for(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    add_generation_prompt: bool,
    tools: Tools = None,
) -> Plan:
    """The template's plan for the roles of these messages, cached per tokenizer.

    A plan with calls of tools is that of one conversation, so it is not cached. Arguments as in
    `render_text`; contents do not matter. ValueError: the template drops, repeats or reorders a
    message, or writes no tools.
    """
    if tools or uses_tools(messages):
        return plan_with_tools(tokenizer, messages, add_generation_prompt, tools)
    plans = _plans.setdefault(tokenizer, {})
    roles = tuple(str(message["role"]) for message in messages)
    template = str(tokenizer.chat_template)
    # All that pieces depend on; a template that writes the date gives other pieces tomorrow.
    today = date.today() if "strftime_now" in template else None
    names = (tokenizer.bos_token, tokenizer.eos_token, len(tokenizer))
    key = (template, today, names, roles, add_generation_prompt)
    if key not in plans:
        plans[key] = _make_plan(tokenizer, _placeholders(roles), add_generation_prompt)
    return plans[key]


def plan_with_tools(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, add_prompt: bool, tools: Tools
) -> Plan:
    """The plan of a conversation with tools; ValueError if the template does not write them."""
    given = [
        {key: value for key, value in message.items() if key != "weight"}
        | {"content": _PLACEHOLDER.format(i) if message["content"] else ""}
        for i, message in enumerate(messages)
    ]
    plan = _make_plan(tokenizer, given, add_prompt, tools)
    check_tools_written(tokenizer, given, add_prompt, tools, plan.control)
    return plan


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that ends an assistant's turn: the first control token after its content.

    Raises:
        ValueError: there is none, or a text could spell it (a token that was added as not special).
    """
    tail = _tail(tokenizer)
    added = tokenizer.added_tokens_decoder.values()
    found = control_pattern(tuple(token.content for token in added)).search(tail)
    if not found:
        raise ValueError(
            "the chat template ends an assistant's turn with no token of its own "
            f"({tail!r} follows the answer): a model could not learn to stop; let the template "
            "write {{ eos_token }} after the answer"
        )
    if not any(token.content == found[0] and token.special for token in added):
        raise ValueError(
            f"the end-of-turn token {found[0]!r} is not special in this tokenizer, so text that "
            "spells it would end a turn; add it with special=True"
        )
    return found[0]


def _tail(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes after the last answer."""
    text, _ = render_text(tokenizer, _placeholders(("user", "assistant")), False)
    if "\ue0f1" not in text:
        raise ValueError(
            "the chat template does not write what an assistant says, neither as text nor as a "
            "list of parts: it is no template of this model, or reads another key than `content`"
        )
    return text[text.rindex("\ue0f1") + 1 :]


def after_end(tokenizer: PreTrainedTokenizerBase, text: str, at: int) -> int:
    """Offset after the end-of-turn token at `at`, and after an eos that follows it directly.

    Some templates (Command A) close the answer and then the turn; other engines stop at eos alone.
    """
    end, eos = at + len(end_of_turn(tokenizer)), tokenizer.eos_token
    return end + len(eos) if eos and text.startswith(eos, end) else end


def untrained_end(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes after the trained end of the last turn, if a control token is in it.

    As Phi-3's <|endoftext|> after the newline: it ends the text, no turn. "" for none.
    """
    tail = _tail(tokenizer)
    rest = tail[after_end(tokenizer, tail, tail.index(end_of_turn(tokenizer))) :]
    special = tuple(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
    return rest if control_pattern(special).search(rest) else ""


@lru_cache(maxsize=32)
def control_pattern(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern that matches any of the tokens, longest first; without tokens it never matches."""
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _placeholders(roles: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": _PLACEHOLDER.format(i)} for i, role in enumerate(roles)]


def _make_plan(
    tokenizer: PreTrainedTokenizerBase,
    given: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool,
    tools: Tools = None,
) -> Plan:
    """The plan of messages whose contents are placeholders, or empty."""
    text, marked = render_text(tokenizer, given, add_generation_prompt, tools)
    found = list(_PLACEHOLDERS.finditer(text))
    written = tuple(i for i, message in enumerate(given) if message["content"])
    if [match[1] for match in found] != [str(i) for i in written]:
        raise ValueError(
            f"the chat template does not write every message once and in order (roles "
            f"{', '.join(str(m['role']) for m in given)}; messages written: "
            f"{[int(match[1]) for match in found]}); change the template or the conversation, for "
            "example put the system text into the user's"
        )
    edges = [0, *(edge for match in found for edge in match.span()), len(text)]
    pieces = tuple(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    turns, problems = [], {}
    for i, message in enumerate(given):
        first = sum(other < i for other in written)  # the piece before the message
        last, span = first + (i in written), edges[2 * first + 1 : 2 * first + 3]
        in_marks = any(a <= span[0] and span[-1] <= b for a, b in marked)
        by_marks = has_markers(str(tokenizer.chat_template)) and i in written
        if message["role"] != "assistant" or (by_marks and not in_marks):
            continue
        try:
            start = _prompt_end(tokenizer, given[:i], text, tools) - edges[2 * first]
            after = 0 if last > first else start
            end = _turn_end(tokenizer, i, pieces[last][after:]) + after
            turns.append(Turn(i, first, start, last, end))
        except ValueError as error:
            problems[i] = str(error)
            continue
        assert 0 <= start <= len(pieces[first]), "the prompt ends outside the piece before the turn"
    special = tuple(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
    pattern = control_pattern(special)
    return Plan(pieces, tuple(turns), problems, written, pattern, _adds_space(tokenizer))


def _adds_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    newline, both, alone = tokenizer(["\n", "\nx", "x"], add_special_tokens=False)["input_ids"]
    return both[len(newline) :] != alone


def _prompt_end(
    tokenizer: PreTrainedTokenizerBase,
    before: Sequence[Mapping[str, Any]],
    text: str,
    tools: Tools,
) -> int:
    prompt, _ = render_text(tokenizer, before, True, tools)
    if not text.startswith(prompt):
        same = next(i for i, (a, b) in enumerate(zip(prompt, text + "\0", strict=False)) if a != b)
        raise ValueError(
            f"the chat template writes another prompt at inference than in training: message "
            f"{len(before)} is asked for by {prompt[same:]!r}, but trained after "
            f"{text[same : same + len(prompt) - same]!r}; where the answers themselves begin so, "
            "set data.turns=last (or each), else set chat_template to one whose prompt is a prefix"
        )
    return len(prompt)


def _turn_end(tokenizer: PreTrainedTokenizerBase, message: int, piece: str) -> int:
    token = end_of_turn(tokenizer)
    if token not in piece:
        raise ValueError(
            f"the chat template does not end message {message} (assistant) with {token!r}: "
            f"{piece!r} follows it; close every assistant turn with the same token"
        )
    return after_end(tokenizer, piece, piece.index(token))

"""The Modelfile of a GGUF file, from which `ollama create NAME -f FILE` makes a model.

Ollama does not run Jinja: it guesses among the templates that it ships, or writes none. So the chat
template is taken apart into what it writes around each message, put together again as a Go
template, and compared with the original on conversations; where they differ no TEMPLATE is written,
and that is said. bos is left out where the file says that the tokenizer adds it. Source of the
format: github.com/ollama/ollama, docs/modelfile.md and docs/template.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.apply_template import render_text
from hfllm.tokenization.template_plan import plan_for

Roles = Sequence[str]
PROBES: tuple[Roles, ...] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
)


@dataclass(frozen=True)
class Parts:
    """What a template writes around each message."""

    begin: str  # before the first message, without a system message
    system: tuple[str, str] | None  # all that precedes a system message, and what follows it
    user: tuple[str, str]
    assistant: tuple[str, str]
    prompt: str  # asks for an answer


def modelfile(
    gguf: str, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], is_chat: bool
) -> tuple[str, list[str]]:
    """The text of a Modelfile, and notes.

    Args:
        gguf: the file's name, in the same folder.
        tokenizer: with or without a chat template.
        stops: texts of the tokens that end an answer.
        is_chat: whether the model takes chats; of a base model the text is continued as it is.
    """
    lines, notes = [f"FROM ./{gguf}"], []
    if is_chat:
        try:
            lines.append(f'TEMPLATE """{go_template(tokenizer)}"""')
        except ValueError as error:
            notes.append(f"no TEMPLATE in the Modelfile, Ollama will guess one: {error}")
    else:
        lines.append('TEMPLATE """{{ .Prompt }}"""')
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    return "\n".join(lines) + "\n", notes


def go_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """A tokenizer's chat template as a Go template for Ollama.

    Raises:
        ValueError: its text does not come of parts around the messages.
    """
    parts = template_parts(tokenizer)
    start = _go(parts.begin)
    if parts.system:
        system = "{{ .System }}".join(map(_go, parts.system))
        start = "{{ if .System }}" + system + "{{ else }}" + start + "{{ end }}"
    user, assistant = (
        "{{ .Content }}".join(map(_go, around)) for around in (parts.user, parts.assistant)
    )
    turns = '{{ if eq .Role "user" }}' + user + '{{ else if eq .Role "assistant" }}' + assistant
    return start + "{{ range .Messages }}" + turns + "{{ end }}{{ end }}" + _go(parts.prompt)


def _go(text: str) -> str:
    """Text as it stands in a Go template inside three quotes."""
    if '"""' in text or "`" in text and "{{" in text:
        raise ValueError(f"{text!r} cannot be written in a Modelfile")
    return "{{ `" + text + "` }}" if "{{" in text else text


def template_parts(tokenizer: PreTrainedTokenizerBase) -> Parts:
    """Take a chat template apart; ValueError unless the parts give its text again."""
    alone, asked = _pieces(tokenizer, ("user",), False), _pieces(tokenizer, ("user",), True)
    twice = _pieces(tokenizer, ("user", "assistant", "user"), False)
    closed = _pieces(tokenizer, ("user", "assistant"), False)
    user_end, assistant_end = alone[1], closed[2]
    user = (_without(twice[2], assistant_end), user_end)
    begin = alone[0].removesuffix(user[0])
    system = None
    try:
        led = _pieces(tokenizer, ("system", "user"), False)
        system = (led[0], led[1].removesuffix(user[0]))
    except ValueError:  # the template refuses a system message
        pass
    parts = Parts(
        begin, system, user, (_without(closed[1], user_end), assistant_end),
        _without(asked[1], user_end),
    )  # fmt: skip
    for roles in PROBES if system else PROBES[::2]:
        messages = [{"role": role, "content": f"x {i} y"} for i, role in enumerate(roles)]
        if _text(parts, messages) != render_text(tokenizer, messages, True)[0]:
            raise ValueError(f"the chat template writes more than parts around {', '.join(roles)}")
    return _without_bos(tokenizer, parts)


def _pieces(tokenizer: PreTrainedTokenizerBase, roles: Roles, ask: bool) -> tuple[str, ...]:
    return plan_for(tokenizer, [{"role": r, "content": "x"} for r in roles], ask).pieces


def _without(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ValueError(f"the chat template writes {text!r} where {start!r} is expected first")
    return text[len(start) :]


def _text(parts: Parts, messages: Sequence[dict[str, str]]) -> str:
    """What Ollama makes of the Go template."""
    system = next((m["content"] for m in messages if m["role"] == "system"), None)
    text = parts.begin
    if system is not None and parts.system:
        text = system.join(parts.system)
    for message in messages:
        if message["role"] != "system":
            around = parts.user if message["role"] == "user" else parts.assistant
            text += message["content"].join(around)
    return text + parts.prompt


def _without_bos(tokenizer: PreTrainedTokenizerBase, parts: Parts) -> Parts:
    """Leave out bos where the tokenizer adds it to every text, as Ollama does by the header."""
    bos = tokenizer.bos_token
    if not bos or tokenizer("a")["input_ids"][0] != tokenizer.bos_token_id:
        return parts
    system = parts.system and (parts.system[0].removeprefix(bos), parts.system[1])
    return Parts(parts.begin.removeprefix(bos), system, parts.user, parts.assistant, parts.prompt)

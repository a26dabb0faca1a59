"""Chat with a model in a terminal, or line by line through a pipe.

    hfllm chat runs/demo/sft            # /reset, /system TEXT, ..., /quit
    hfllm chat runs/demo/sft runs/demo/ppo   # each answers, in a conversation of its own
    echo "Who is Ada?" | hfllm chat runs/demo/sft

Answers are streamed. The prompt of each turn is the whole conversation; when it exceeds the model's
positions the oldest turns are dropped, with a notice of how many. A base model is refused, except
with --plain, which continues each line as text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from hfllm.inference.chat_file import load_chat, save_chat
from hfllm.inference.generate import Generator
from hfllm.inference.load import chats, find_model, is_chat_model, load_model
from hfllm.inference.prompts import Message, Prompt, encode_prompt
from hfllm.inference.sampling import Sampling

HELP = (
    "commands: /reset forgets the conversation, /system TEXT sets instructions, /regenerate "
    "answers again, /save FILE and /load FILE keep the conversation, /quit ends"
)
MIN_ANSWER_TOKENS = 16  # a prompt must leave room for as many


@dataclass
class Terminal:
    """Input, output and a stream for notices, apart so that a pipe receives answers only."""

    source: TextIO = field(default_factory=lambda: sys.stdin)
    sink: TextIO = field(default_factory=lambda: sys.stdout)
    notices: TextIO = field(default_factory=lambda: sys.stderr)

    @property
    def interactive(self) -> bool:
        """Whether the input is a terminal."""
        return self.source.isatty()

    def read(self) -> str | None:
        """The next line without its line break; None at the end of input."""
        if self.interactive and self.source is sys.stdin:
            try:
                return input("> ")
            except EOFError:
                return None
        line = self.source.readline()
        return line.rstrip("\n") if line else None

    def write(self, text: str) -> None:
        """Write a piece of an answer and flush."""
        self.sink.write(text)
        self.sink.flush()

    def note(self, text: str) -> None:
        """Print a notice, which is not part of an answer."""
        print(text, file=self.notices, flush=True)


@dataclass
class Conversation:
    """A generator, its settings, and the messages so far."""

    generator: Generator
    max_new_tokens: int = 256
    sampling: Sampling = field(default_factory=Sampling)
    plain: bool = False
    messages: list[Message] = field(default_factory=list)
    name: str = ""  # of the model, where several answer

    def set_system(self, text: str) -> None:
        """Start a new conversation with this system message ("": without one)."""
        self.messages = [{"role": "system", "content": text}] if text else []

    def reset(self) -> None:
        """Drop all messages but the system message."""
        self.messages = [m for m in self.messages if m["role"] == "system"]

    def ask(self, text: str, terminal: Terminal) -> str:
        """Stream the answer to a user message, append both to the conversation, return the answer.

        Ctrl-C stops the answer, not the conversation.

        Raises:
            ValueError: the message alone exceeds the model's positions.
        """
        prompt = self._prompt(text, terminal)
        pieces: list[str] = []
        try:
            for piece in self.generator.stream(prompt, self.max_new_tokens, self.sampling):
                pieces.append(piece)
                terminal.write(piece)
        except KeyboardInterrupt:
            terminal.note(" (stopped)")
        terminal.write("\n")
        answer = "".join(pieces)
        self.messages.append({"role": "assistant", "content": answer})
        return answer

    def again(self, terminal: Terminal) -> str:
        """Answer the last user message once more; ValueError if there is none."""
        at = max((i for i, m in enumerate(self.messages) if m["role"] == "user"), default=None)
        if at is None:
            raise ValueError("nothing was asked yet")
        asked = str(self.messages[at]["content"])
        del self.messages[at:]
        return self.ask(asked, terminal)

    def _prompt(self, text: str, terminal: Terminal) -> Prompt:
        if self.plain:
            self.messages = []
            return text
        turns = [*self.messages, {"role": "user", "content": text}]
        dropped = 0
        while not self._fits(turns):
            oldest = next(i for i, m in enumerate(turns) if m["role"] == "user")
            if oldest == len(turns) - 1:
                raise ValueError(
                    f"the message is too long for the model's {self.generator.max_positions:,} "
                    "positions"
                )
            del turns[oldest : oldest + 2]
            dropped += 1
        if dropped:
            terminal.note(f"(the model's positions are full: dropped the oldest {dropped} turns)")
        self.messages = turns
        return turns

    def _fits(self, turns: list[Message]) -> bool:
        tokens = len(encode_prompt(self.generator.tokenizer, turns))
        return tokens + min(MIN_ANSWER_TOKENS, self.max_new_tokens) <= self.generator.max_positions


def chat_loop(
    models: Sequence[str | Path],
    *,
    system: str | None = None,
    sampling: Sampling | None = None,
    max_new_tokens: int = 256,
    plain: bool = False,
    terminal: Terminal | None = None,
) -> None:
    """Load model folders and answer until the end of input or `/quit`.

    Args:
        models: folders (or run steps) of language models; each answers every message.
        system: the system message.
        sampling: how a token is drawn; None is greedy.
        max_new_tokens: longest answer, in tokens.
        plain: continue each line as text, without a chat template (base models).
        terminal: streams to use instead of the process's own.

    Raises:
        ValueError: a folder is no model, or a base model without `plain` (one line).
    """
    folders = [find_model(model) for model in models]
    for model, folder in zip(models, folders, strict=True):
        if not plain and not is_chat_model(folder):
            raise ValueError(
                f"{model} is a base model, which only continues text: {better_model(folder)}"
            )
    talks = []
    for model, folder in zip(models, folders, strict=True):
        generator = Generator(*load_model(folder))
        name = str(model) if len(models) > 1 else ""
        talk = Conversation(generator, max_new_tokens, sampling or Sampling(), plain, name=name)
        talk.set_system(system or "")
        talks.append(talk)
    converse(talks, terminal or Terminal())


def converse(talks: Sequence[Conversation], terminal: Terminal) -> None:
    """Read lines, carry out commands, answer the rest, until the end of input or `/quit`."""
    if terminal.interactive:
        terminal.note(HELP)
    while (line := read_line(terminal)) is not None:
        command, _, rest = line.strip().partition(" ")
        if command == "/quit":
            return
        try:
            _carry_out(talks, command, rest.strip(), line, terminal)
        except (ValueError, OSError) as error:
            terminal.note(f"({error})")


def _carry_out(
    talks: Sequence[Conversation], command: str, rest: str, line: str, terminal: Terminal
) -> None:
    """One command, or a message to each model."""
    if command == "/reset":
        for talk in talks:
            talk.reset()
        terminal.note("(new conversation)")
    elif command == "/system":
        for talk in talks:
            talk.set_system(rest)
        terminal.note("(new conversation with these instructions)")
    elif talks[0].plain and line.strip():
        _each(talks, line, terminal)
    elif command == "/regenerate":
        _each(talks, None, terminal)
        if talks[0].sampling.is_greedy:
            terminal.note("(greedy decoding gives the same answer: start with --temperature 0.7)")
    elif command == "/save":
        terminal.note(save_chat([(talk.name, talk.messages) for talk in talks], rest))
    elif command == "/load":
        chats, said = load_chat([talk.name for talk in talks], rest)
        for talk, messages in zip(talks, chats, strict=True):
            talk.messages = messages
        terminal.note(said)
    elif command.startswith("/") and command[1:].isalpha():
        terminal.note(HELP)
    elif line.strip():
        _each(talks, line, terminal)


def _each(talks: Sequence[Conversation], text: str | None, terminal: Terminal) -> None:
    """Let each model answer a message, or (None) its last one again; a refusal is one's own."""
    for talk in talks:
        if talk.name:
            terminal.write(f"[{talk.name}] ")
        try:
            talk.again(terminal) if text is None else talk.ask(text, terminal)
        except ValueError as error:
            if talk.name:
                terminal.write("\n")
            terminal.note(f"({error})")


def read_line(terminal: Terminal) -> str | None:
    """The next line; None at the end of input, or after Ctrl-C at the prompt."""
    try:
        return terminal.read()
    except KeyboardInterrupt:
        return None


def better_model(folder: str) -> str:
    """What to do about a base model, for an error message: the same run's sft step, or --plain."""
    step = Path(folder).parent if Path(folder).name == "model" else Path(folder)
    for manifest in sorted(step.parent.glob("*/manifest.json")):
        if chats(manifest):
            return f"try `hfllm chat {manifest.parent}`, or pass --plain"
    return "chat with its sft step, or pass --plain"

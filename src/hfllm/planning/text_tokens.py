"""How many tokens an example is, with the tokenizer that a step will use, if it is there already.

The `tokenizers` library reads tokenizer.json alone, and jinja2 renders the chat template as
transformers does, so that nothing heavy is imported. Without a tokenizer a stated ratio is used.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hfllm.data.example import Example
from hfllm.recipe.hub_cache import cached_file
from hfllm.recipe.stage import TOKENIZER
from hfllm.runs.layout import Step
from hfllm.runs.status import status
from hfllm.tokenization.chat_template import CHAT_TEMPLATE

BYTES_PER_TOKEN = 4.0  # English with a vocabulary of tens of thousands: 4 to 4.7
PER_TURN = 4  # control tokens of a message, where the chat template cannot be rendered


class TokenCounter:
    """Counts the tokens of examples; `how` says with what."""

    def __init__(self, step: Step) -> None:
        """Read the tokenizer and the chat template of a step, as far as they are there."""
        folder = _folder(step)
        self.tokenizer = _tokenizer(step, folder)
        self.template = _template(step, folder)
        self.exact = self.tokenizer is not None
        self.how = "" if self.exact else f"{BYTES_PER_TOKEN:g} bytes a token assumed"

    def text(self, text: str) -> float:
        """Tokens of a text, without control tokens."""
        if self.tokenizer is None:
            return len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def messages(self, messages: list[dict[str, Any]], ask: bool = False) -> float:
        """Tokens of turns in the chat template; `ask`: up to where the answer begins."""
        if self.template is not None and self.tokenizer is not None:
            try:
                return self.text(self.template.render(messages=messages, add_generation_prompt=ask))
            except Exception:  # whatever a template does with these messages
                self.template = None
        return sum(self.text(_content(m)) + PER_TURN for m in messages) + (PER_TURN if ask else 0)

    def document(self, row: Example) -> float:
        """Tokens of a document and of the token that ends it."""
        return self.text(str(row.get("text", ""))) + 1

    def chat(self, row: Example) -> float:
        """Tokens of a chat."""
        return self.messages(row["messages"])

    def sides(self, row: Example) -> list[float]:
        """Tokens of the sides of a pair that are there, each with the prompt."""
        there = [key for key in ("chosen", "rejected") if key in row]
        return [self._after(row["prompt"], row[key]) for key in there]

    def prompt(self, row: Example) -> float:
        """Tokens of a prompt, up to where the answer begins."""
        prompt = row["prompt"]
        return self.text(prompt) if isinstance(prompt, str) else self.messages(prompt, ask=True)

    def _after(self, prompt: Any, answer: Any) -> float:
        if isinstance(prompt, str) or isinstance(answer, str):
            return self.text(str(prompt)) + self.text(str(answer)) + 1
        return self.messages([*prompt, *answer])


def _content(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _folder(step: Step) -> Path | None:
    """The folder of the step's tokenizer, or None: made by a step that has not run, the hub."""
    config = step.spec.config
    reference = config.tokenizer or config.init or TOKENIZER
    if reference in step.recipe.steps:
        other = step.other(reference)
        return other.tokenizer if status(other).is_done else _earlier(step, reference)
    if Path(reference).is_dir():
        return Path(reference)
    found = cached_file(reference, "tokenizer.json")
    return found.parent if found else None


def _earlier(step: Step, reference: str) -> Path | None:
    """A step that has not run passes on the tokenizer of the model that it starts from."""
    config = step.recipe.steps[reference].config
    if not hasattr(config, "trainer"):
        return None
    return _folder(step.other(reference))


def _tokenizer(step: Step, folder: Path | None) -> Any:
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the library raises plain Exception; the step says what is wrong
        return None
    found.no_truncation()
    found.no_padding()
    return found


def _template(step: Step, folder: Path | None) -> Any:
    """The chat template, compiled as transformers does; None if there is none to read."""
    asked = getattr(step.spec.config, "chat_template", None)
    text: Any = None
    if asked == "hfllm":
        text = CHAT_TEMPLATE
    elif asked not in (None, "keep"):
        text = Path(asked).read_text(encoding="utf-8") if Path(asked).is_file() else None
    elif folder is not None and (folder / "chat_template.jinja").is_file():
        text = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    elif folder is not None and (folder / "tokenizer_config.json").is_file():
        text = json.loads((folder / "tokenizer_config.json").read_text()).get("chat_template")
    if not isinstance(text, str):
        return None
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", text)  # a tag of transformers' own
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    names = _special(folder)
    environment.globals |= {"raise_exception": _refuse, "tools": None, **names}
    try:
        return environment.from_string(plain)
    except TemplateError:
        return None


def _special(folder: Path | None) -> dict[str, str]:
    """bos_token and eos_token, by which templates refer to them."""
    file = folder / "tokenizer_config.json" if folder else None
    if file is None or not file.is_file():
        return {"bos_token": "", "eos_token": ""}
    config = json.loads(file.read_text(encoding="utf-8"))
    found = {key: config.get(key) for key in ("bos_token", "eos_token")}
    return {k: str(v.get("content") if isinstance(v, dict) else v or "") for k, v in found.items()}


def _refuse(message: str) -> None:
    raise ValueError(message)

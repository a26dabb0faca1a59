"""A loaded model under test: its spec, weights, tokenizer and generator."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.evaluation.specs import ModelSpec, TestRow
from hfllm.inference.generate import Generator
from hfllm.inference.load import load_model
from hfllm.inference.prompts import Message, Prompt, positions


@dataclass
class ModelUnderTest:
    """A loaded model, as the tasks use it."""

    spec: ModelSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    generator: Generator

    def settings(self) -> dict[str, Any]:
        """How the model is prompted and decoded: `settings` in results.json."""
        template = self.tokenizer.chat_template or ""
        stops = sorted(self.generator.stop_ids)
        return {
            "model": self.spec.name,
            "prompts": "chat template" if self.spec.chat else "plain text",
            "chat_template_sha256": hashlib.sha256(str(template).encode()).hexdigest()[:16]
            if self.spec.chat
            else None,
            "stop_tokens": self.tokenizer.convert_ids_to_tokens(stops),
            "stop_at_newline": self.generator.stop_at_newline,
            "decoding": "greedy",
            "few_shot": 0,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "positions": positions(self.model),
        }


def open_model_under_test(spec: ModelSpec, batch_size: int) -> ModelUnderTest:
    """Load a model folder with a generator of `batch_size` prompts.

    Raises:
        ValueError: the folder is no model, or a chat model has no chat template (one line).
    """
    model, tokenizer = load_model(spec.folder)
    if spec.chat and not tokenizer.chat_template:
        raise ValueError(
            f"{spec.folder}: no chat template; evaluate it as a base model or fine-tune it"
        )
    generator = Generator(model, tokenizer, batch_size, stop_at_newline=not spec.chat)
    return ModelUnderTest(spec, model, tokenizer, generator)


def prompt_of(row: TestRow, chat: bool) -> Prompt:
    """The row's prompt: messages for a chat model, else plain text.

    Raises:
        ValueError: the row has neither `prompt` nor `plain`.
    """
    return messages_of(row) if chat else plain_prompt(row)


def messages_of(row: TestRow) -> list[Message]:
    """The row's prompt as messages; raises as `prompt_of`."""
    messages, plain = row.get("prompt"), row.get("plain")
    if isinstance(messages, str) or messages is None:
        messages = [{"role": "user", "content": messages or plain}]
    if not messages or messages[-1]["content"] is None:
        raise ValueError(
            f"test row {row.get('id')!r} has neither `prompt` nor `plain`: it has {', '.join(row)}"
        )
    return messages


def plain_prompt(row: TestRow) -> str:
    """The row's prompt as text for a base model; raises as `prompt_of`."""
    messages = messages_of(row)
    return row.get("plain") or f"Question: {messages[-1]['content']}\nAnswer:"

"""From a prompt to token ids, and which tokens end an answer.

A chat prompt (a list of messages) is rendered by the chat template up to the assistant's turn; a
plain prompt (a string, for base models) becomes `<|bos|>text`. Both go through the encoders that
treat control tokens spelled inside a text as text, so a user cannot end the turn for the model.

Which token ends a turn is read off a rendered conversation, not believed from
generation_config.json: a model saved without it would otherwise never stop.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.loss_mask import eot_token_id, render

Message = dict[str, str]
Prompt = list[Message] | str

PROBE: list[Message] = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
]


def start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that the tokenizer itself puts before a text, bos as a rule; [] where it puts none.

    What a model was trained behind, so what others score it behind too (lm-eval).
    """
    bare = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a").input_ids
    return whole[: whole.index(bare[0])]


def first_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before a text whose first token is to be scored; [] where nothing can.

    As `start_ids`; else what stood between documents: `<|endoftext|>` or eos. A bos that opens
    every turn of the chat template (ChatML in SmolLM2) never stood before a document.
    """
    if start := start_ids(tokenizer):
        return start
    names = [tokenizer.bos_token, "<|endoftext|>", tokenizer.eos_token]
    if tokenizer.chat_template and tokenizer.bos_token:
        chat = tokenizer.apply_chat_template(PROBE, tokenize=False)
        if str(chat).count(tokenizer.bos_token) > 1:
            names = names[1:]
    known = tokenizer.get_vocab()
    return [known[name] for name in names if name in known][:1]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of a chat prompt (ends where the assistant speaks) or of a plain text."""
    if isinstance(prompt, str):
        text = encode_text(tokenizer, prompt)
        return (start_ids(tokenizer) + text) or first_ids(tokenizer)
    return render(tokenizer, prompt, add_generation_prompt=True).input_ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends an assistant's turn; None where there is no template or no such token."""
    if not tokenizer.chat_template:
        return None
    try:
        return eot_token_id(tokenizer)
    except ValueError:  # a template that ends turns with plain text: only the model's own eos stops
        return None


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end an answer: generation config, tokenizer's eos and the end of a turn."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    stops = {*listed, tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    return {i for i in stops if i is not None}


@lru_cache(maxsize=4)
def newline_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token whose text holds a line break (a base model's answer ends there)."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return frozenset(i for i, text in enumerate(texts) if "\n" in text)


def stop_mask(ids: set[int] | frozenset[int], vocab_size: int) -> torch.Tensor:
    """Booleans that say which token stops, shape (V,)."""
    mask = torch.zeros(vocab_size, dtype=torch.bool)  # (V,)
    mask[[i for i in sorted(ids) if i < vocab_size]] = True
    return mask


def as_text(prompt: Prompt) -> str:
    """A prompt for people to read: the lone user message, else the transcript."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def positions(model: Any) -> int:
    """The longest sequence that the model was made for, in tokens (2**31 where it says nothing)."""
    config = (
        model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    )
    return int(getattr(config, "max_position_embeddings", None) or 2**31)

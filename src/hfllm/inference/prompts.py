"""Prompts -> token ids, and the tokens that stop generation.

A chat prompt (a list of messages) is rendered by the chat template with its generation prompt; a
plain prompt (a string, for base models) is encoded after bos. In both, control tokens that a text
spells are encoded as plain text, so that a user's message cannot end a turn.

The end-of-turn token is found by rendering a conversation, in addition to the eos ids of
generation_config.json: a model saved without them would never stop.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.render import eot_token_id, render
from hfllm.tokenization.separators import separators, start_ids

Message = dict[str, str]
Prompt = list[Message] | str


def first_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What precedes a document whose first token is scored, as in training; [] for nothing."""
    return list(separators(tokenizer).before)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of a chat prompt, generation prompt included, or of a plain text."""
    if isinstance(prompt, str):
        text = encode_text(tokenizer, prompt)
        return (start_ids(tokenizer) + text) or first_ids(tokenizer)
    return render(tokenizer, prompt, add_generation_prompt=True).input_ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token id that ends an assistant's turn; None without a template or such a token."""
    if not tokenizer.chat_template:
        return None
    try:
        return eot_token_id(tokenizer)
    except ValueError:  # the template ends turns with plain text: only eos stops generation
        return None


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end an answer: of the generation config, the tokenizer's eos, the end of a turn."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    stops = {*listed, tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    return {i for i in stops if i is not None}


@lru_cache(maxsize=4)
def newline_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of all tokens with a line break in their text (stop tokens for base models)."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return frozenset(i for i, text in enumerate(texts) if "\n" in text)


def stop_mask(ids: set[int] | frozenset[int], vocab_size: int) -> torch.Tensor:
    """Whether a token id is among `ids`, as a boolean tensor (V,)."""
    mask = torch.zeros(vocab_size, dtype=torch.bool)  # (V,)
    mask[[i for i in sorted(ids) if i < vocab_size]] = True
    return mask


def as_text(prompt: Prompt) -> str:
    """A prompt as readable text: a single message's content, else `role: content` lines."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def positions(model: Any) -> int:
    """The config's max_position_embeddings, in tokens; 2**31 where it sets none."""
    config = (
        model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    )
    return int(getattr(config, "max_position_embeddings", None) or 2**31)

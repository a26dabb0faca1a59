"""Text -> token ids, where text that spells a control token stays text.

A document that holds the nine characters `<|end|>` must not end a turn: transformers turns them
into the control token unless `split_special_tokens=True` is given for that text. Everything that
encodes raw text goes through here; conversations go through `data.chat.render`. Nothing is added:
BOS and EOS are put around documents by `data.packing.pack`.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode one text, without BOS or EOS; special tokens in it are plain text."""
    return encode_texts(tokenizer, [text])[0]


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Encode many texts at once (on all cores with TOKENIZERS_PARALLELISM=true); as `encode_text`.

    Raises ValueError where the tokenizer's control tokens cannot be kept out (added as tokens that
    are not special).
    """
    if not texts:
        return []
    batch = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return batch["input_ids"]

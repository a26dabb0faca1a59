"""Text -> token ids, where text that spells a control token stays text.

A document that holds the seven characters `<|end|>` must not end a turn: transformers turns them
into the control token unless `split_special_tokens=True` is given for that text. Everything that
encodes raw text goes through here; conversations go through `data.render`. Nothing is added: BOS
and EOS are put around documents by `data.packing.pack`. Cost: 2 MB/s a core.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode one text, without BOS or EOS; control tokens in it are plain text."""
    return encode_texts(tokenizer, [text])[0]


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Encode many texts at once, on all cores with TOKENIZERS_PARALLELISM=true; as `encode_text`.

    Raises ValueError where a text is not valid unicode.
    """
    if not texts:
        return []
    try:
        batch = tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
    except (TypeError, UnicodeError) as error:
        for i, text in enumerate(texts):
            check_unicode(text, f"text {i}")
        raise ValueError(f"texts of the types {set(map(type, texts))} cannot be encoded") from error
    return batch["input_ids"]


def check_unicode(text: str, name: str) -> int:
    """Return the text's UTF-8 bytes; ValueError where it holds half of a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} is not valid unicode (lone surrogate at character {error.start}); repair the "
            "source or drop the row"
        ) from error

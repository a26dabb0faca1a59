"""Plain text -> token ids; a control token that the text spells is encoded as plain text.

A document that contains the seven characters `<|end|>` must not end a turn, but transformers makes
them the control token unless `split_special_tokens=True` is given. All raw text is encoded here,
conversations by `tokenization.render`. No BOS or EOS is added: `data.packing.pack` puts them around
documents. Cost: 2 MB/s per core.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode one text, without BOS and EOS."""
    return encode_texts(tokenizer, [text])[0]


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Encode many texts as `encode_text` does; on all cores with TOKENIZERS_PARALLELISM=true.

    Raises:
        ValueError: a text is not valid unicode, or no string.
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
    """The number of UTF-8 bytes of a text; `name` is what the message calls it.

    Raises:
        ValueError: the text contains half of a surrogate pair, which UTF-8 cannot encode.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} is not valid unicode (lone surrogate at character {error.start}); repair the "
            "source or drop the row"
        ) from error

"""Give a tokenizer a pad token of its own.

Many published tokenizers pad with their end of turn (SmolLM2) or have no pad token (Llama). What
masks padding then masks every end of turn too, and a reward model reads its score at the wrong
place. Padding carries no loss and attends to nothing, so any control token that the template never
writes will do: the unknown token, else one that was reserved; where there is none, one is added.
"""

from __future__ import annotations

from contextlib import suppress

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.chat_template import PAD
from hfllm.tokenization.render import eot_token_id

RESERVED = ("pad", "reserved", "unused", "unk", "extra")


def give_pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """Set a pad token of its own where there is none; return what was done ("" for nothing)."""
    taken = {tokenizer.bos_token, tokenizer.eos_token}
    if tokenizer.chat_template:
        with suppress(
            ValueError
        ):  # turns that end in plain text: the mask gate tells, where it matters
            taken.add(str(tokenizer.convert_ids_to_tokens(eot_token_id(tokenizer))))
    before = tokenizer.pad_token
    if before is not None and before not in taken:
        return ""
    template = str(tokenizer.chat_template or "")
    spare = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special and token.content not in taken and token.content not in template
    ]
    named = [token for token in spare if any(word in token.lower() for word in RESERVED)]
    unknown = [token for token in spare if token == tokenizer.unk_token]
    chosen = (unknown + named or [PAD])[0]
    is_new = chosen not in tokenizer.get_vocab()
    tokenizer.add_special_tokens({"pad_token": chosen})
    why = f"instead of {before}, which ends a turn or a text" if before else "where there was none"
    return f"pad token {chosen}{' (added)' if is_new else ''} {why}"

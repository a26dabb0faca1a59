"""Give a tokenizer a pad token that is neither eos nor the end of a turn.

Many published tokenizers pad with their end-of-turn token (SmolLM2) or have no pad token (Llama). A
mask of padding then masks every end of turn as well, and a reward model reads its score at the
wrong position. Padding has no loss and is not attended to, so any control token that the chat
template never writes will do: the unknown token, else a reserved one, else a new one is added.
"""

from __future__ import annotations

from contextlib import suppress

from transformers import PreTrainedTokenizerBase

from hfllm.tokenization.chat_template import PAD
from hfllm.tokenization.render import eot_token_id

RESERVED = ("pad", "reserved", "unused", "unk", "extra")


def give_pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """Set such a pad token unless there is one; return a note of what was done ("" for nothing)."""
    taken = {tokenizer.bos_token, tokenizer.eos_token}
    if tokenizer.chat_template:
        with suppress(ValueError):  # turns end in plain text: the mask gate reports it
            taken.add(str(tokenizer.convert_ids_to_tokens(eot_token_id(tokenizer))))
    before = tokenizer.pad_token
    if before is not None and before not in taken:
        return ""
    template = str(tokenizer.chat_template or "")
    unused = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special and token.content not in taken and token.content not in template
    ]
    named = [token for token in unused if any(word in token.lower() for word in RESERVED)]
    unknown = [token for token in unused if token == tokenizer.unk_token]
    chosen = (unknown + named or [PAD])[0]
    is_new = chosen not in tokenizer.get_vocab()
    tokenizer.add_special_tokens({"pad_token": chosen})
    why = f"instead of {before}, which ends a turn or a text" if before else "where there was none"
    return f"pad token {chosen}{' (added)' if is_new else ''} {why}"

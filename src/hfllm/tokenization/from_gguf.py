"""Build the byte-level BPE tokenizer of a GGUF file, with the pre-tokenizer that the file names.

transformers takes GPT-2's pre-tokenizer whatever `tokenizer.ggml.pre` says, and adds GPT-2's
<|endoftext|> beyond the embedding where the file names no unknown token. Both happen silently and
give other tokens than the model was trained on. Source of the patterns: the tokenizers of the
models named, as listed in llama.cpp (src/llama-vocab.cpp).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type
ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}

# llama-bpe, dbrx and qwen2 differ in how many digits one piece may have, and in IGNORES_MERGES
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}|"
    r" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _single_digits() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _cl100k(digits: str) -> Any:
    split = pre_tokenizers.Split(Regex(_CL100K.format(digits=digits)), behavior="isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, whole])


SPLITS: dict[str, Callable[[], Any]] = {
    "default": _gpt2,
    "gpt-2": _gpt2,
    "smollm": _single_digits,
    "starcoder": _single_digits,
    "llama-bpe": lambda: _cl100k("{1,3}"),
    "dbrx": lambda: _cl100k("{1,3}"),
    "smaug-bpe": lambda: _cl100k("{1,3}"),
    "qwen2": lambda: _cl100k(""),
}
# Under these names llama.cpp takes a piece that is a token as it is, without merging.
IGNORES_MERGES = ("llama-bpe",)


Field = Callable[[str], Any]  # header key -> value, None where it is absent


def tokenizer_problem(field: Field) -> str | None:
    """Why the file's tokenizer cannot be built (follows the file's name in a message), or None."""
    kind = field("tokenizer.ggml.model")
    if not kind:
        return "has no tokenizer inside: nothing could be encoded for it"
    if kind == "gpt2" and (name := _split_name(field)) not in SPLITS:
        return (
            f"splits text in the way '{name}', which is not known here (known: "
            f"{', '.join(SPLITS)}): tokens would differ from the model's. Take its safetensors"
        )
    return None


def _split_name(field: Field) -> str:
    return str(field("tokenizer.ggml.pre") or "default")


def byte_level_tokenizer(field: Field) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a file with `tokenizer.ggml.model` gpt2 and no `tokenizer_problem`."""
    name = _split_name(field)
    tokens = list(field("tokenizer.ggml.tokens"))
    types = list(field("tokenizer.ggml.token_type") or [])
    merges = [tuple(merge.split(" ", 1)) for merge in field("tokenizer.ggml.merges")]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    bpe = models.BPE(vocabulary, merges, ignore_merges=name in IGNORES_MERGES)
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = SPLITS[name]()
    backend.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, types, strict=False):
        if kind == CONTROL:
            backend.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            backend.add_tokens([AddedToken(token, normalized=False)])
    named = {role: field(f"tokenizer.ggml.{key}_token_id") for role, key in ROLES.items()}
    special = {f"{role}_token": tokens[i] for role, i in named.items() if i is not None}
    if field("tokenizer.ggml.add_bos_token") and named["bos"] is not None:
        bos = (special["bos_token"], int(named["bos"]))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B", special_tokens=[bos]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **special
    )
    tokenizer.chat_template = field("tokenizer.chat_template")
    return tokenizer

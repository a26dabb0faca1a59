"""Write a byte-level BPE tokenizer as the keys of a GGUF header that llama.cpp reads.

llama.cpp splits text by code of its own, chosen by a name (`tokenizer.ggml.pre`). Which name is
right is found by what the tokenizer does: its pieces of a few hundred texts, made of letters of
many scripts, digits, punctuation and white space, must be those of a pattern that llama.cpp knows
(tokenization/from_gguf.py: SPLITS). Its own converter compares the tokens of one such text. What
llama.cpp would do otherwise (a normalizer, white space that a token takes, another order of merges)
is refused with its name, or a note where only rare texts differ. Source: llama.cpp,
src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from hfllm.inference.prompts import end_of_turn_id
from hfllm.tokenization.from_gguf import CONTROL, IGNORES_MERGES, SPLITS, USER_DEFINED

NORMAL, UNUSED = 1, 5  # tokenizer.ggml.token_type
ODD = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")  # of a BPE
TAKE_SAFETENSORS = "take --to folder"
# Tokens that llama.cpp ends an answer at by their text, whatever the header says.
KNOWN_STOPS = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>",
}  # fmt: skip
# Letters, digits, marks, symbols and spaces of the kinds by which patterns differ.
PIECES = [
    *"aZéßñΩдЖ漢字かカ한ไทยعदǅªʰ", "a\u0301", "ि", "ก็", "\u0301", *"0129٣५½²Ⅷ",
    *"'\"’.,!?-_/\\()[]{}<>|=+$#@^~`&%*:;€→∑🙂", "👩\u200d🚀", "\ufe0f",
    *" \t\n\r\v\x1f\x85\xa0\u2003\u3000\u2028\u200b\ufeff", "  ", "   ", "\r\n", "'s", "'S", "'re",
    "'LL", "'ve", "'d", "'x", "don't", "1234567", "12 345", "camelCase", "ABC", "word", " word",
]  # fmt: skip


@dataclass
class TokenizerFields:
    """Keys of the header without `tokenizer.`, and what llama.cpp will do otherwise."""

    keys: dict[str, Any]
    stops: list[str]  # texts of the tokens that end an answer
    notes: list[str] = field(default_factory=list)


def tokenizer_fields(
    tokenizer: PreTrainedTokenizerBase, rows: int, stop_ids: set[int]
) -> TokenizerFields:
    """The header's keys for a tokenizer.

    Args:
        tokenizer: of a model folder.
        rows: of the embedding; tokens are added up to it, as llama.cpp expects one a row.
        stop_ids: that end an answer (inference/prompts.py: stop_ids).

    Raises:
        ValueError: llama.cpp cannot tokenize as this tokenizer does (one line, without the place).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(f"has no tokenizer.json, only a slow tokenizer: {TAKE_SAFETENSORS}")
    parts = json.loads(backend.to_str())
    notes = list(_check_supported(parts))
    tokens, types = _tokens(parts, rows)
    merges = parts["model"]["merges"]
    keys: dict[str, Any] = {
        "ggml.model": "gpt2",
        "ggml.pre": split_name(backend, bool(parts["model"].get("ignore_merges"))),
        "ggml.tokens": tokens,
        "ggml.token_type": types,
        "ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in merges],
    }
    keys |= _added_by_itself(tokenizer)
    roles = {"bos": "bos", "unk": "unknown", "pad": "padding"}
    ids = {theirs: getattr(tokenizer, f"{ours}_token_id") for ours, theirs in roles.items()}
    keys |= {f"ggml.{name}_token_id": i for name, i in ids.items() if i is not None}
    keys |= _stop_keys(tokenizer, tokens, stop_ids, notes)
    if isinstance(tokenizer.chat_template, str):
        keys["chat_template"] = tokenizer.chat_template
    return TokenizerFields(keys, [tokens[i] for i in sorted(stop_ids)], notes)


def _check_supported(parts: dict[str, Any]) -> Iterator[str]:
    """Yield notes; ValueError for a part of tokenizer.json that llama.cpp's BPE has not."""
    model = parts["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") else model["type"]
        raise ValueError(
            f"its tokenizer is {kind}; only byte-level BPE is written to GGUF here: "
            f"{TAKE_SAFETENSORS}, and convert that with llama.cpp's convert_hf_to_gguf.py"
        )
    odd = [key for key in ODD if model.get(key)]
    if odd:
        raise ValueError(f"its tokenizer sets {odd[0]}, which GGUF cannot say: {TAKE_SAFETENSORS}")
    normalizer = (parts.get("normalizer") or {}).get("type")
    if normalizer == "NFC":
        yield "llama.cpp does not compose characters (NFC): text in another form gets other tokens"
    elif normalizer:
        raise ValueError(
            f"its tokenizer normalizes text ({normalizer}), which llama.cpp does not: "
            f"{TAKE_SAFETENSORS}"
        )
    for token in parts["added_tokens"]:
        if flags := [f for f in ("lstrip", "rstrip", "single_word") if token[f]]:
            raise ValueError(
                f"its token {token['content']!r} is matched with {flags[0]}, which GGUF cannot "
                f"say: {TAKE_SAFETENSORS}"
            )


def _tokens(parts: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """One text and one type for every row of the embedding."""
    tokens = {i: (text, NORMAL) for text, i in parts["model"]["vocab"].items()}
    for token in parts["added_tokens"]:
        tokens[token["id"]] = (token["content"], CONTROL if token["special"] else USER_DEFINED)
    found = [tokens.get(i, (f"[PAD{i}]", UNUSED)) for i in range(rows)]
    texts = [text for text, _ in found]
    if len(set(texts)) < rows:
        twice = next(text for i, text in enumerate(texts) if text in texts[:i])
        raise ValueError(f"its token {twice!r} has two ids, which llama.cpp refuses")
    return texts, [kind for _, kind in found]


def split_name(backend: Any, ignores_merges: bool) -> str:
    """The name under which llama.cpp splits text as a `tokenizers` tokenizer does.

    Raises:
        ValueError: there is none among SPLITS.
    """
    if backend.pre_tokenizer is None:
        raise ValueError(f"its tokenizer does not split text before merging: {TAKE_SAFETENSORS}")
    texts = probes()
    found = [backend.pre_tokenizer.pre_tokenize_str(text) for text in texts]
    for name, build in SPLITS.items():
        if name == "default" or (name in IGNORES_MERGES) is not ignores_merges:
            continue
        split = build().pre_tokenize_str
        if all(split(text) == pieces for text, pieces in zip(texts, found, strict=True)):
            return name
    raise ValueError(
        f"its tokenizer splits text in a way that is not one of llama.cpp's known here "
        f"({', '.join(SPLITS)}): {TAKE_SAFETENSORS}"
    )


def probes(count: int = 400, seed: int = 0) -> list[str]:
    """Texts of a few pieces each, the same in every run."""
    some = random.Random(seed)
    return ["".join(some.choices(PIECES, k=some.randint(1, 12))) for _ in range(count)]


def _added_by_itself(tokenizer: PreTrainedTokenizerBase) -> dict[str, bool]:
    """Whether the tokenizer puts bos before and eos after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    ends = {
        (False, False): bare,
        (True, False): [tokenizer.bos_token_id, *bare],
        (False, True): [*bare, tokenizer.eos_token_id],
        (True, True): [tokenizer.bos_token_id, *bare, tokenizer.eos_token_id],
    }
    for (before, after), ids in ends.items():
        if whole == ids:
            return {"ggml.add_bos_token": before, "ggml.add_eos_token": after}
    around = tokenizer.convert_ids_to_tokens([i for i in whole if i not in bare])
    raise ValueError(
        f"its tokenizer puts {around} around a text, llama.cpp can put bos and eos alone: "
        f"{TAKE_SAFETENSORS}"
    )


def _stop_keys(
    tokenizer: PreTrainedTokenizerBase, tokens: list[str], stop_ids: set[int], notes: list[str]
) -> dict[str, int]:
    """The ids that end an answer: a header has room for three, others are known by their text."""
    keys = {}
    eos, turn = tokenizer.eos_token_id, end_of_turn_id(tokenizer)
    if eos is not None:
        keys["ggml.eos_token_id"] = eos
    if turn is not None:
        keys["ggml.eot_token_id"] = turn
    more = sorted(i for i in stop_ids - {eos, turn} if tokens[i] not in KNOWN_STOPS)
    if more:
        keys["ggml.eom_token_id"] = more[0]
    for i in more[1:]:
        notes.append(f"llama.cpp will not stop at {tokens[i]!r}: a header has room for three")
    return keys

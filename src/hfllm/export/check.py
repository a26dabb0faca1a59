"""Read an export back, and compare its logits, tokens and template with the model's.

The logits of a few rows of tokens, in float32, by transformers: a matrix in another order or a
lost key gives other numbers altogether, rounding moves them a little. The models are in memory one
after the other; where there is too little for one the check is left out, and that is said.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import psutil
import torch
from transformers import PreTrainedTokenizerBase

from hfllm.export.gguf_tokenizer import probes
from hfllm.export.source import Source
from hfllm.inference.load import load_model
from hfllm.modeling.adapters import sample_logits
from hfllm.tokenization.encode import encode_text

# The largest difference of a logit that rounding makes, as a share of the largest logit.
ROUNDING = {
    "f32": 1e-3, "f16": 0.03, "bf16": 0.1, "q8_0": 0.2, "q5_1": 0.7, "q5_0": 0.7, "q4_1": 0.9,
    "q4_0": 0.9,
}  # fmt: skip
Reader = Callable[[], tuple[Any, PreTrainedTokenizerBase]]


def checked(source: Source, place: Path, dtype: str, read: Reader) -> str:
    """One line on how the export compares with the model.

    Args:
        source: the model.
        place: of the export, for messages.
        dtype: of the export.
        read: gives the model in float32 and the tokenizer of the export.

    Raises:
        ValueError: the export is another model than the source (one line).
    """
    stored = sum(file.stat().st_size for file in source.folder.glob("*.safetensors"))
    need = stored * 4 / torch.empty(0, dtype=source.config.dtype or torch.float32).element_size()
    if (free := psutil.virtual_memory().available) < 1.5 * need:
        return f"not checked: {1.5 * need / 1e9:.1f} GB of memory are needed, {free / 1e9:.1f} free"
    original = sample_logits(load_model(source.folder, torch.float32, "cpu")[0])
    gc.collect()
    model, tokenizer = read()
    found = sample_logits(model.eval())
    _same_tokens(source.tokenizer, tokenizer, place)
    apart = ((found - original).abs().max() / original.abs().max()).item()
    if not apart <= ROUNDING[dtype]:  # also NaN
        raise ValueError(
            f"{place} is another model: read back, its logits are up to {apart:.1%} of the largest "
            f"one apart, and {dtype} rounds by at most {ROUNDING[dtype]:.0%}; this is a mistake of "
            "hfllm, please report it with the model's config.json"
        )
    same = (found.argmax(-1) == original.argmax(-1)).float().mean().item()
    return (
        f"read back: logits at most {apart:.1e} of the largest one apart, {same:.0%} of the most "
        "likely next tokens the same"
    )


def _same_tokens(
    ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, place: Path
) -> None:
    if ours.chat_template != theirs.chat_template:
        raise ValueError(f"{place}: read back, its chat template is another")
    for text in probes(100, seed=1):
        text = normalize("NFC", text)  # llama.cpp does not, which is said where it matters
        if encode_text(ours, text) != encode_text(theirs, text):
            raise ValueError(f"{place}: read back, it has other tokens for {text!r}")

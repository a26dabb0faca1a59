"""Read an export back, and compare its logits, tokens and template with the model's.

The model's weights are rounded as the export stores them; then the logits of a few rows of tokens,
in float32, must be those of the export as transformers reads it: a matrix in another order or a
lost key gives others altogether, in every precision. What the rounding itself costs is measured on
a passage of English. One model is in memory at a time; where there is too little for one the check
is left out, and that is said.
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
from hfllm.tokenization.separators import start_ids

SAME = 1e-3  # the largest difference of a logit, as a share of the largest logit: sums in float32
PASSAGE = (
    "The river had been rising since noon. By four o'clock the water stood at the second step of "
    "the mill, and the miller, who had seen three floods in 41 years, began to carry his sacks "
    'upstairs. "It will stop tonight," he said, "or not at all." His daughter laughed; '
    "she had heard him say so before every storm, and so far he had always been half right."
)
Reader = Callable[[], tuple[Any, PreTrainedTokenizerBase]]
Rounder = Callable[[str, torch.Tensor], torch.Tensor]


def checked(source: Source, place: Path, dtype: str, rounded: Rounder, read: Reader) -> str:
    """One line on how the export compares with the model.

    Args:
        source: the model.
        place: of the export, for messages.
        dtype: of the export.
        rounded: a weight of a name as the export holds it, in float32.
        read: gives the model in float32 and the tokenizer of the export.

    Raises:
        ValueError: the export is another model than the source (one line).
    """
    stored = sum(file.stat().st_size for file in source.folder.glob("*.safetensors"))
    need = stored * 4 / torch.empty(0, dtype=source.config.dtype or torch.float32).element_size()
    if (free := psutil.virtual_memory().available) < 1.5 * need:
        return f"not checked: {1.5 * need / 1e9:.1f} GB of memory are needed, {free / 1e9:.1f} free"
    model: Any = load_model(source.folder, torch.float32, "cpu")[0]
    before = _on_a_passage(model, source.tokenizer)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(rounded(name, weight))
    expected, after = sample_logits(model), _on_a_passage(model, source.tokenizer)
    del model
    gc.collect()
    found, tokenizer = read()
    _same_tokens(source.tokenizer, tokenizer, place)
    apart = ((sample_logits(found) - expected).abs().max() / expected.abs().max()).item()
    if not apart <= SAME:  # also NaN
        raise ValueError(
            f"{place} is another model: read back, its logits are up to {apart:.1%} of the largest "
            "one apart; this is a mistake of hfllm, please report it with the model's config.json"
        )
    return f"read back: it is the model in {dtype}; on a passage {_cost(before, after)}"


@torch.no_grad()
def _on_a_passage(model: Any, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Log-probabilities of the next token after each token of the passage, (T, V)."""
    positions = model.config.get_text_config().max_position_embeddings
    ids = (start_ids(tokenizer) + encode_text(tokenizer, PASSAGE))[:positions]
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)


def _cost(before: torch.Tensor, after: torch.Tensor) -> str:
    apart = (before.exp() * (before - after)).sum(-1).mean().item()
    same = (before.argmax(-1) == after.argmax(-1)).float().mean().item()
    return (
        f"rounding costs {max(0.0, apart):.2g} nats a token, {same:.0%} of the most likely next "
        "tokens are the same"
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

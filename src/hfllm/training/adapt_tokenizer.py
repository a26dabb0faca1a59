"""Somebody else's tokenizer, made fit for training: a chat template, a pad token of its own.

What is added to a vocabulary needs a row in the embeddings: the mean of the others, so that the
model neither prefers nor fears the token at first (Hewitt 2021, Initializing New Word Embeddings).
Under LoRA, which leaves embeddings alone, the new rows are trained beside the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.tokenization.chat_template import CHAT_TEMPLATE, SPECIAL_TOKENS
from hfllm.tokenization.pad import give_pad_token


def adapt_tokenizer(tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> list[str]:
    """Set the template (None or "keep", "hfllm", a file) and a pad token; return what was done."""
    notes = []
    if chat_template not in (None, "keep"):
        before, size = tokenizer.chat_template, len(tokenizer)
        if chat_template == "hfllm":
            tokenizer.add_special_tokens(
                {
                    "bos_token": SPECIAL_TOKENS[1],
                    "extra_special_tokens": list(SPECIAL_TOKENS[3:]),
                },
                replace_extra_special_tokens=False,
            )
            tokenizer.chat_template = CHAT_TEMPLATE
        else:
            tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8")
        if tokenizer.chat_template != before:
            other = "; the model was trained on another and has to learn this one" if before else ""
            added = f", {len(tokenizer) - size} tokens added" if len(tokenizer) > size else ""
            notes.append(f"chat template: {chat_template}{added}{other}")
    if note := give_pad_token(tokenizer):
        notes.append(note)
    return notes


def new_ids(tokenizer: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that the model's own tokenizer does not have."""
    known = theirs.get_vocab()
    return sorted(i for token, i in tokenizer.get_vocab().items() if token not in known)


def resize_embeddings(model: PreTrainedModel, ids: list[int]) -> None:
    """Rows for new tokens in the embeddings and in the head, each the mean of the rows before.

    Raises ValueError where the tokens would leave a gap: this is no tokenizer of this model's.
    """
    table: Any = model.get_input_embeddings().weight
    if not len(table):
        raise ValueError(
            "tokens cannot be added while ZeRO-3 has the embeddings spread over processes: make "
            "this step with another accelerate configuration"
        )
    if ids[-1] >= len(table):
        if set(range(len(table), ids[-1] + 1)) - set(ids):
            raise ValueError(
                f"the tokenizer has tokens up to {ids[-1]:,}, the model {len(table):,} rows: this "
                "is another model's tokenizer"
            )
        model.resize_token_embeddings(ids[-1] + 1, mean_resizing=False)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    for weight in {id(t.weight): t.weight for t in tables if t is not None}.values():
        with torch.no_grad():
            weight[ids] = weight[: ids[0]].mean(0, keepdim=True)


def trained_with_adapter(
    model: PreTrainedModel, ids: list[int], saved: Sequence[str]
) -> dict[str, Any]:
    """The key of peft.LoraConfig that trains new rows, where an adapter leaves the others alone.

    `saved`: modules that are trained whole. Raises ValueError for a head with a bias, which peft
    would leave out in training and put back when it merges.
    """
    if not ids:
        return {}
    head: Any = model.get_output_embeddings()
    names = {  # by weight: of a tied pair the input embeddings alone
        id(module.weight): name.split(".")[-1]
        for table in (head, model.get_input_embeddings())
        for name, module in model.named_modules()
        if module is table
    }
    kept = [name for name in names.values() if name not in saved]
    if getattr(head, "bias", None) is not None and names[id(head.weight)] in kept:
        raise ValueError(
            "tokens are added and the model's head has a bias: train the head whole "
            f"(modules_to_save: [{names[id(head.weight)]}]), or keep the model's own template"
        )
    return {"trainable_token_indices": dict.fromkeys(kept, ids)} if kept else {}

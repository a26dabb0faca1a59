"""Adapt a downloaded model's tokenizer for training: chat template, pad token, new embeddings.

A token added to the vocabulary needs a row in the embeddings: the mean of the rows before, so that
its initial probability is an average one (Hewitt 2021, Initializing New Word Embeddings). LoRA
freezes the embeddings; there the new rows are trained in addition to the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.tokenization.apply_template import take_default_template
from hfllm.tokenization.chat_template import CHAT_TEMPLATE, SPECIAL_TOKENS
from hfllm.tokenization.compare import id_clash
from hfllm.tokenization.pad import give_pad_token


def adapt_tokenizer(tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> list[str]:
    """Set the chat template and a pad token; return a note for the manifest on each change.

    `chat_template` is None or "keep" (the tokenizer's own), "hfllm", or the path of a file.
    """
    notes = []
    if chat_template in (None, "keep"):
        notes += [note] if (note := take_default_template(tokenizer)) else []
    else:
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


def new_ids(tokenizer: PreTrainedTokenizerBase, original: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens of `tokenizer` that the model's `original` tokenizer does not have.

    Raises ValueError if one of them, or another token, has an id that `original` uses for another
    token: its row of the embeddings is trained and must not be overwritten.
    """
    own, known = tokenizer.get_vocab(), original.get_vocab()
    if clash := id_clash(own, known):
        raise ValueError(f"it is another model's tokenizer: {clash}; leave `tokenizer:` out")
    return sorted(i for token, i in own.items() if token not in known)


def resize_embeddings(model: PreTrainedModel, ids: list[int]) -> None:
    """Add rows for the token ids `ids` to embeddings and head, each the mean of the rows before.

    Raises ValueError if the ids would leave a gap, because the tokenizer is another model's, or if
    ZeRO-3 has partitioned the embeddings.
    """
    table: Any = model.get_input_embeddings().weight
    if not len(table):
        raise ValueError(
            "tokens cannot be added while ZeRO-3 has partitioned the embeddings over processes; "
            "run this step with another accelerate configuration"
        )
    if ids[-1] >= len(table):
        if set(range(len(table), ids[-1] + 1)) - set(ids):
            raise ValueError(
                f"the tokenizer has tokens up to {ids[-1]:,}, the model {len(table):,} rows: it is "
                "another model's tokenizer; leave `tokenizer:` out"
            )
        model.resize_token_embeddings(ids[-1] + 1, mean_resizing=False)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    for weight in {id(t.weight): t.weight for t in tables if t is not None}.values():
        with torch.no_grad():
            weight[ids] = weight[: ids[0]].mean(0, keepdim=True)


def new_token_lora_config(
    model: PreTrainedModel, ids: list[int], saved: Sequence[str]
) -> dict[str, Any]:
    """The argument of peft.LoraConfig that trains the embeddings of new tokens, as a dict.

    Args:
        model: before the adapter is added.
        ids: the new tokens; with [] the dict is empty.
        saved: `modules_to_save`, which are trained whole.

    Raises:
        ValueError: the head has a bias, which peft ignores in training and adds when it merges.
    """
    if not ids:
        return {}
    head: Any = model.get_output_embeddings()
    names = {  # by weight: for tied embeddings the input embeddings alone
        id(module.weight): name.split(".")[-1]
        for table in (head, model.get_input_embeddings())
        for name, module in model.named_modules()
        if module is table
    }
    kept = [name for name in names.values() if name not in saved]
    if getattr(head, "bias", None) is not None and names[id(head.weight)] in kept:
        raise ValueError(
            "tokens are added and the model's head has a bias; train the head whole "
            f"(modules_to_save: [{names[id(head.weight)]}]), or keep the model's own template"
        )
    return {"trainable_token_indices": dict.fromkeys(kept, ids)} if kept else {}

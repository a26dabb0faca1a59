"""Run a model on a few tokens before training, so that what it cannot do is one line.

In order: tokens must not see those that follow (BERT's do, after a mere warning); a batch as in
training must give a loss, with the tokenizer's highest id (a text model inside another config may
have a smaller vocabulary, an image model may need images); and a row of seq_len tokens must fit
where there is a table of about so many positions (RoBERTa's begin behind the padding's id).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from hfllm.modeling.eval_mode import eval_mode
from hfllm.modeling.isolation import sees_later_tokens
from hfllm.recipe.errors import first_line, raise_out_of_memory

FEW = 8  # tokens
OFFSET = 8  # rows of a table of positions that may be kept for other things


def try_model(
    model: Any, key: str, seq_len: int, vocabulary: int, auto_class: Any = AutoModelForCausalLM
) -> None:
    """Try a model that is to be trained; a model sharded by ZeRO-3 is not tried.

    Args:
        model: before accelerate wraps it.
        key: of the recipe, which names it.
        seq_len: tokens of a training row; 0 where the step has no fixed length.
        vocabulary: of the tokenizer.
        auto_class: of transformers, which made it: others than a causal LM see what they like.

    Raises:
        ValueError: it sees later tokens, or does not run (one line).
    """
    if any(p.numel() == 0 for p in model.parameters()):
        return
    kind, causal = model.config.model_type, auto_class is AutoModelForCausalLM
    if (rows := model.get_input_embeddings().weight.shape[0]) < vocabulary:
        raise ValueError(
            f"{key}: {kind} embeds {rows} tokens, the tokenizer has {vocabulary}: set vocab_size "
            "in each config of text inside it, or choose another"
        )
    ids = torch.arange(vocabulary - min(FEW, vocabulary), vocabulary, device=model.device)[None]
    _run(model, f"{key}: a {kind} does not train on text", _other(key), ids, causal)
    if causal and sees_later_tokens(model):
        raise ValueError(
            f"{key}: {kind} sees the tokens that follow, so it would learn to copy them: "
            f"{_remedy(model, key)}"
        )
    if seq_len > FEW and _may_be_short(model, seq_len):
        row = ids[:, -1:].expand(-1, seq_len)  # no padding, whose positions may not count
        problem = f"{key}: a row of data.seq_len={seq_len} tokens does not fit this {kind}"
        remedy = "lower data.seq_len, or give the model more positions"
        _run(getattr(model, "base_model", model), problem, remedy, row)


def _run(model: Any, problem: str, remedy: str, ids: torch.Tensor, loss: bool = False) -> None:
    """Run ids (1, L) in training mode without gradients; an error is raised as one line."""
    inputs = {"input_ids": ids} | ({"labels": ids} if loss else {})
    try:
        with torch.random.fork_rng(devices=[]), eval_mode(model):
            model.train()
            model(**inputs, use_cache=False)
    except (IndexError, RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise_out_of_memory(error)
        raise ValueError(f"{problem} ({first_line(error)}); {remedy}") from error


def _other(key: str) -> str:
    return "change the keys of `model:`" if key.startswith("model") else "choose another"


def _remedy(model: Any, key: str) -> str:
    if not hasattr(model.config, "is_decoder"):
        return "choose another"
    return (
        "set model.is_decoder=true"
        if key.startswith("model")
        else 'set "is_decoder": true in its config.json'
    )


def _may_be_short(model: Any, seq_len: int) -> bool:
    """Whether a table other than the tokens' has hardly more rows than seq_len."""
    tokens = model.get_input_embeddings()
    tables = (m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m is not tokens)
    return any(seq_len // 2 <= table.num_embeddings < seq_len + OFFSET for table in tables)

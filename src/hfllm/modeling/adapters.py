"""PEFT adapters: unwrap a model, and merge an adapter into its base model.

The trainer saves the adapter alone, which depends on the path of its base model, and which the next
stage would load frozen. So the adapter goes to STEP/adapter, and STEP/model gets the merged model:
the base is read from disk and merged in float32 on the CPU, because the model in memory may be
sharded over processes. Where the base ties its head to the embeddings and the adapter changes one
of the two, they are untied. Then the saved folder is loaded and its logits are compared with those
of the trained model, adapter unmerged.
"""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hfllm.modeling.eval_mode import eval_mode
from hfllm.modeling.load_report import without_load_report
from hfllm.recipe.errors import reading

CONFIG = "adapter_config.json"
# The largest difference of merged and trained logits, as a share of the largest logit. Merging sums
# in another order: measured 1e-5 to 1e-4 in float32 (SmolLM2's 30 layers, random adapters), and a
# GPU may round its products to 11 bits (TF32). Half precision keeps 8 or 11 bits at every layer.
SAME_IN_FLOAT32, SAME_IN_HALF = 1e-3, 5e-2


def without_adapter(model: Any) -> Any:
    """The model inside peft's wrapper (its adapter layers stay in it); any other as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def adapted_head(model: Any, config: Any) -> str | None:
    """The name of the model's head if it is among the targets of a peft config, else None."""
    from peft.tuners.tuners_utils import check_target_module_exists

    head = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if module is head]
    whole = config.target_modules == "all-linear"  # peft leaves the head out
    hit = not whole and head is not None and check_target_module_exists(config, names[0])
    return names[0].split(".")[-1] if hit else None


@contextmanager
def _on_this_process_alone() -> Iterator[None]:
    """Load a model without ZeRO-3, under which `from_pretrained` shards it and waits for all."""
    from transformers.integrations import deepspeed

    before = deepspeed._hf_deepspeed_config_weak_ref  # a global that accelerate set
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = before


@_on_this_process_alone()
def merge_adapter(model: Any, folder: Path, aside: Path, is_sharded: bool = False) -> list[str]:
    """Replace an adapter's folder by that of the merged model; does nothing if it holds none.

    Args:
        model: the trained peft model; its config names the base model.
        folder: where the trainer saved the adapter; afterwards the merged model in float32.
        aside: where the adapter goes, with copies of the tokenizer's files.
        is_sharded: each process holds a part of the weights; then the merged logits are compared
            with those of the adapter read from `aside`, unmerged.

    Returns:
        A note for the manifest where head and embeddings were untied, else [].

    Raises:
        ValueError: the saved folder is another model than the trained one.
    """
    if not (folder / CONFIG).is_file():
        return []
    from peft import PeftModel

    _move_adapter(folder, aside)
    base = model.get_base_model()
    with without_load_report():  # a new score head comes from the adapter
        fresh = type(base).from_pretrained(
            base.config._name_or_path, num_labels=base.config.num_labels, dtype=torch.float32
        )
    rows, had = (m.config.get_text_config().vocab_size for m in (base, fresh))
    if rows > had:
        fresh.resize_token_embeddings(rows, mean_resizing=False)  # the adapter holds the new rows
    adapted: Any = PeftModel.from_pretrained(fresh, str(aside))
    trained = sample_logits(fresh if is_sharded else base)
    with warnings.catch_warnings():  # peft's, about what `_untie` does
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        untied = _untie(fresh)
        merged: Any = adapted.merge_and_unload()
    merged.config.pad_token_id = base.config.pad_token_id
    if getattr(base, "generation_config", None) is not None:
        merged.generation_config = base.generation_config
    merged.save_pretrained(folder)
    del adapted, fresh, merged  # before the saved model takes as much memory again
    gc.collect()
    half = not is_sharded and next(base.parameters()).dtype != torch.float32
    _check_same(type(base), folder, aside, trained, SAME_IN_HALF if half else SAME_IN_FLOAT32)
    return [UNTIED] if untied else []


def merge_saved(adapter: Path, folder: Path) -> list[str]:
    """Merge an adapter's folder into its base model, and write the whole model in float32.

    Args:
        adapter: a folder that peft or a step (STEP/adapter) wrote.
        folder: gets the model and the tokenizer.

    Returns:
        A note where head and embeddings were untied, else [].

    Raises:
        ValueError: the base model is not there, or merged it is another than with the adapter.
    """
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with reading(f"cannot load {adapter}"):
        base = str(PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path)
    with reading(f"{adapter}: cannot load its base model {base}"):
        fresh: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    has_tokenizer = (adapter / "tokenizer_config.json").is_file()
    with reading(f"{adapter}: cannot load the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(adapter) if has_tokenizer else base)
    if len(tokenizer) > fresh.get_input_embeddings().weight.shape[0]:
        fresh.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with reading(f"cannot load {adapter}"):
        adapted: Any = PeftModel.from_pretrained(fresh, str(adapter))
    trained = sample_logits(fresh)
    with warnings.catch_warnings():  # peft's, about what `_untie` does
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        untied = _untie(fresh)
        merged: Any = adapted.merge_and_unload()
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kind = type(merged)
    del adapted, fresh, merged
    gc.collect()
    _check_same(kind, folder, adapter, trained, SAME_IN_FLOAT32)
    return [UNTIED] if untied else []


UNTIED = (
    "the adapter changes only one of embeddings and head, which the base model ties: the merged "
    "model has two matrices (tie_word_embeddings: false)"
)


def _move_adapter(folder: Path, aside: Path) -> None:
    """Move the adapter's files, and copy the tokenizer's for chat; remove peft's empty card."""
    aside.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name.startswith("adapter_"):
            path.replace(aside / path.name)
        elif "token" in path.name or path.suffix == ".jinja":
            shutil.copy(path, aside / path.name)
    (folder / "README.md").unlink(missing_ok=True)


def _untie(base: Any) -> bool:
    """Give the head its own copy of the embeddings' matrix if an adapter changes one of the two.

    peft adds an adapter to the matrix of its layer alone while it trains; merged into a tied
    matrix it would change the other layer, too. `trainable_token_indices` change both in training.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    head, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    layers = [x for x in (head, embeddings) if isinstance(x, BaseTunerLayer)]
    if head is None or not layers or head.weight is not embeddings.weight:
        return False
    own = head.get_base_layer() if head in layers else head
    own.weight = torch.nn.Parameter(head.weight.detach().clone())
    return True


def _check_same(
    kind: Any, folder: Path, aside: Path, trained: torch.Tensor, tolerance: float
) -> None:
    """Raise ValueError if the model in `folder` has other logits than the `trained` one."""
    found = sample_logits(kind.from_pretrained(folder, dtype=torch.float32))
    apart, largest = (trained - found).abs().max().item(), trained.abs().max().item()
    if not apart <= tolerance * largest:  # also NaN
        raise ValueError(
            f"{folder}: the merged model is not the trained one: its logits are up to {apart:.3g} "
            f"apart, of at most {largest:.3g}; the adapter is whole in {aside}, load it with peft "
            "on its base model, or change what `peft` adapts"
        )


def sample_logits(model: Any) -> torch.Tensor:
    """Logits of a few rows that hold tokens of the whole vocabulary, the last ones in order.

    By the class's own forward: without the autocast and the fused head of a trainer.
    """
    vocabulary = model.get_input_embeddings().weight.shape[0]
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 32
    some = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (4, min(32, limit)), generator=some)  # (B, T)
    ids[0] = torch.arange(vocabulary - ids.size(1), vocabulary).clamp(min=0)  # new tokens
    pad = model.config.get_text_config().pad_token_id
    ids[ids == pad] = pad - 1 if pad else 1  # a reward is read before the first padding
    with eval_mode(model):
        found = type(model).forward(model, input_ids=ids.to(model.device), use_cache=False).logits
    return found.float().cpu()

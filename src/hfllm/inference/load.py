"""Load a language or reward model for inference, with one-line errors for what is wrong with it.

A reference is a `save_pretrained` folder, a step of a run (its `model/`), a hub id, or a .gguf file
(imported once into a cache). Checked on loading: all weights are there (transformers initialises
missing ones at random and goes on), none is NaN or infinite, and the tokenizer's ids fit into the
embedding.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from hfllm.modeling.gguf_imports import as_folder
from hfllm.modeling.load_report import left_out, reward_model_problem, without_load_report
from hfllm.recipe.did_you_mean import first_missing, near_path
from hfllm.recipe.errors import reading
from hfllm.recipe.hub import require_model
from hfllm.recipe.model_names import how_to_get, is_gguf
from hfllm.tokenization.apply_template import take_default_template

MODEL_FILES = ("config.json", "adapter_config.json")


def find_model(folder: str | Path) -> str:
    """The folder that holds the model; a hub id is returned as it is.

    Raises:
        ValueError: the folder is missing or holds no model; the message names the nearest one.
    """
    path = Path(folder)
    if path.is_dir():
        for place in (path, path / "model"):
            if any((place / name).exists() for name in MODEL_FILES):
                return str(place)
        raise ValueError(
            f"no model in {path}: it has neither config.json nor model/config.json; "
            "did its step finish?"
        )
    if is_gguf(path):
        return as_folder(str(folder))
    if path.exists():
        raise ValueError(f"{path} is a file: name the folder that holds it")
    if require_model(str(folder)):
        return str(folder)
    raise ValueError(f"no folder {path}{_hint(path)}")


def _hint(path: Path) -> str:
    if path.is_symlink():
        return f": it is a link to {path.readlink()}, which is not there"
    if near := near_path(path):
        return f": did you mean {near}?"
    if made := how_to_get(path):
        return made
    above = first_missing(path).parent
    names = sorted(p.name for p in above.iterdir() if p.is_dir()) if above.is_dir() else []
    return f": {above} holds {', '.join(names[:8]) or 'no folder'}"


def load_model(
    folder: str | Path, dtype: torch.dtype | None = None, device: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal LM in eval mode, and its tokenizer.

    Args:
        folder: model folder, run step, hub id or .gguf file.
        dtype: of the weights; None: float32 on a CPU, bfloat16 on a GPU.
        device: None: the GPU where there is one, else the CPU.

    Raises:
        ValueError: no model there; weights missing, of another class, NaN or infinite; or a
            vocabulary larger than the embedding (one line).
    """
    return _load(AutoModelForCausalLM, folder, dtype, device)


def load_reward(
    folder: str | Path, dtype: torch.dtype | None = None, device: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A reward model (a sequence classifier with one label) in eval mode, and its tokenizer.

    Args:
        folder: as in `load_model`.
        dtype: as in `load_model`.
        device: as in `load_model`.

    Raises:
        ValueError: as `load_model`; more than one label; or no pad token of its own (one line).
    """
    remedy = "; a reward model is made by the stage `reward`"
    model, tokenizer = _load(AutoModelForSequenceClassification, folder, dtype, device, remedy)
    if model.config.num_labels != 1:
        raise ValueError(
            f"{folder} has {model.config.num_labels} labels, a reward model has one: train `reward`"
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise ValueError(
            f"{folder}: a reward model needs a pad token that is not eos, or scores skip the end"
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _load(
    auto: Any,
    folder: str | Path,
    dtype: torch.dtype | None,
    device: str | None,
    remedy: str = "",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    place = find_model(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
    if auto is AutoModelForCausalLM and (problem := reward_model_problem(place)):
        raise ValueError(problem)
    with reading(f"cannot load {place}"):
        tokenizer = AutoTokenizer.from_pretrained(place)
    with suppress(ValueError):  # several and none the default: said where one is needed
        if note := take_default_template(tokenizer):
            print(f"{place}: {note}", file=sys.stderr)
    with reading(f"cannot load {place}"), bars_on_terminals_only(), without_load_report():
        model, info = auto.from_pretrained(place, dtype=dtype, output_loading_info=True)
    if line := left_out(info["unexpected_keys"], type(model).__name__):
        print(f"{place}: {line}", file=sys.stderr)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"{place} lacks {len(missing)} weights, {missing[0]!r} first: "
            f"its weights are not those of {type(model).__name__}{remedy}"
        )
    check_vocabulary(model, tokenizer, place)
    model = model.to(device).eval()
    broken = next((name for name, p in model.named_parameters() if not p.isfinite().all()), None)
    if broken:
        raise ValueError(f"{place}: {broken} holds NaN or infinity: its training has diverged")
    return model, tokenizer


@contextmanager
def bars_on_terminals_only() -> Iterator[None]:
    """Switch transformers' progress bars off where stderr is no terminal."""
    quiet = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if quiet:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            logging.enable_progress_bar()


def check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, place: str
) -> None:
    """Check that the tokenizer's ids fit into the embedding; warn where the pad token is eos.

    Args:
        model: a loaded model, sharded or not.
        tokenizer: its tokenizer.
        place: folder or hub id, for messages.

    Raises:
        ValueError: the tokenizer has more tokens than the embedding has rows.
    """
    rows = embedding_rows(model)
    if len(tokenizer) > rows:
        raise ValueError(
            f"{place}: the tokenizer has {len(tokenizer):,} tokens, the embedding {rows:,} rows: "
            "the tokenizer is another model's, or tokens were added without resizing the embedding"
        )
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id:
        print(
            f"note: {place}: pad token is eos; nothing to do unless its answers run on (training "
            "masked both): then train it on with hfllm, which pads with another token",
            file=sys.stderr,
        )


def embedding_rows(model: PreTrainedModel) -> int:
    """Rows of the input embedding: ids below this are valid. Also right for a ZeRO-3 shard."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return getattr(weight, "ds_shape", weight.shape)[0]


def is_chat_model(folder: str | Path) -> bool:
    """Whether the model takes chats: it has a chat template, and no manifest says otherwise."""
    place = Path(find_model(folder))
    if any(chats(where / "manifest.json") is False for where in (place, place.parent)):
        return False
    with reading(f"no tokenizer to read in {place}"):
        return AutoTokenizer.from_pretrained(place).chat_template is not None


def chats(manifest: Path) -> bool | None:
    """What a step's manifest says of its model: asked in turns or not; None if it says nothing."""
    if not manifest.exists():
        return None
    with reading(f"{manifest}: broken manifest"):
        said = json.loads(manifest.read_text())
        if not isinstance(said, dict):
            raise ValueError("it is no mapping")
    if "chat" in said:
        return said["chat"]
    return {"pretrain": False, "sft": True}.get(str(said.get("stage")))  # written before `chat` was

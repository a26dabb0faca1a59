"""The reference of DPO and KTO: its log-probabilities, computed once before training.

The reference is the model that training starts from. Its log-probabilities of the
rows never change, so one pass before training replaces one in every step, and no second model is
held. Batches are those of the first epoch, so that at the first step policy and reference differ by
nothing, not even by rounding.

They are kept beside the checkpoints (reference-NAME.safetensors): a resumed run reads them instead
of computing them again. TRL's own cache is a temporary file of each process, which a second process
does not find and a resumed run computes again; and its key leaves out what the sums depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM
from trl.models import prepare_deepspeed
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu.trained_head import Scoring, score_trained_positions, why_kept
from hfllm.inference.progress import track
from hfllm.runs.layout import Step
from hfllm.runs.processes import is_on, is_sharded
from hfllm.training.load import load_init, refuse_new_tokens

Columns = dict[str, torch.Tensor]  # (rows,) each


def policy_and_reference(step: Step, args: Any, tokenizer: Any) -> tuple[Any, Any]:
    """The model of `init` to train, and the same once more where the reference needs its own.

    It does not with an adapter, which is switched off for it, nor where its log-probabilities are
    computed before training; but under FSDP, which shards the first model only when that begins.

    Raises:
        ValueError: as `load_init`; or the tokenizer has tokens that no model was trained on.
    """
    refuse_new_tokens(step, tokenizer)
    model = load_init(step, AutoModelForCausalLM, tokenizer)
    fsdp = bool(args.fsdp) or is_on("ACCELERATE_USE_FSDP")
    if step.spec.config.peft or (args.precompute_ref_log_probs and not fsdp):
        return model, None
    return model, load_init(step, AutoModelForCausalLM, tokenizer)


def kept_or_computed(
    file: Path, key: Sequence[Any], accelerator: Accelerator, compute: Callable[[], Columns]
) -> Columns:
    """The columns of `compute`, read from `file` if it was written for the same key.

    Args:
        file: where they are kept; the main process writes it.
        key: what they depend on, of the main process; JSON.
        accelerator: of the trainer; all processes call this together.
        compute: the columns of all rows, on every process.
    """
    wanted = [hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()]
    broadcast_object_list(wanted, from_process=0)  # a sharded model's hash differs by process
    found = [_read(file, wanted[0])] if accelerator.is_main_process else [None]
    broadcast_object_list(found, from_process=0)
    if found[0] is not None:
        return found[0]
    columns = compute()
    if accelerator.is_main_process:
        _write(file, columns, wanted[0])
    accelerator.wait_for_everyone()
    return columns


def over_rows(
    loader: DataLoader, accelerator: Accelerator, compute: Callable[[Any], Columns], label: str
) -> Columns:
    """Apply `compute` to every batch of a loader and put the results of all processes together.

    Args:
        loader: batches in the order of the rows.
        accelerator: shares the batches out and gathers the results.
        compute: a batch -> columns (rows of the batch,).
        label: of the rows, for the progress lines: "train", "eval".
    """
    rows = len(loader.dataset)  # type: ignore[arg-type]
    parts: dict[str, list[torch.Tensor]] = {}
    words = f"the reference's log-probabilities, {label}"
    with track(rows, words, "rows") if accelerator.is_main_process else nullcontext() as done:
        for batch in accelerator.prepare(loader):
            for name, values in compute(batch).items():
                values = accelerator.gather_for_metrics(values.float().contiguous())
                parts.setdefault(name, []).append(values.cpu())
            if done is not None:
                done(len(values))
    columns = {name: torch.cat(values) for name, values in parts.items()}
    assert all(len(values) == rows for values in columns.values())
    return columns


def reference_model(trainer: Any) -> Any:
    """The model that a trainer's reference log-probabilities come from, as TRL chooses it.

    DeepSpeed needs an engine: before training its weights are still on the CPU, or in shards.
    """
    if trainer.ref_model is None and trainer.is_deepspeed_enabled:
        if trainer._precompute_engine is None:
            trainer._precompute_engine = prepare_deepspeed(trainer.model, trainer.accelerator)
        return trainer._precompute_engine
    return trainer.ref_model or trainer.model


def score_answers_only(trainer: Any, extra: tuple[str, ...]) -> list[str]:
    """On a CPU let the heads score answer tokens alone, where TRL's score all positions.

    Args:
        trainer: its model and reference get the head.
        extra: further fields of its metrics (fast_cpu.trained_head.EXTRA).

    Returns:
        Notes on models that keep TRL's head.
    """
    if trainer.accelerator.device.type != "cpu":
        return []
    if is_sharded(trainer.args):
        return ["the model is sharded: TRL's head is kept, slower on a CPU"]
    models = [m for m in (trainer.model, trainer.ref_model) if m is not None]
    plain = [trainer.accelerator.unwrap_model(model) for model in models]
    how = Scoring(extra=extra)
    kept = [m for m in plain if not score_trained_positions(m, FusedCausalLMOutput, how)]
    return list(dict.fromkeys(map(why_kept, kept)))


def rows_digest(dataset: Dataset) -> str:
    """Hash of the rows' contents."""
    digest = hashlib.sha256()
    for table in dataset.with_format("arrow").iter(batch_size=1_000):
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            if pa.types.is_list(column.type):
                digest.update(pc.list_value_length(column).to_numpy().tobytes())
                column = column.flatten()
            digest.update(name.encode() + column.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def _read(file: Path, digest: str) -> Columns | None:
    """The columns of a file that was written whole for this digest, or None."""
    if not file.is_file():
        return None
    try:
        with safe_open(str(file), framework="pt") as tensors:
            if (tensors.metadata() or {}).get("of") != digest:
                return None
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except Exception:  # noqa: BLE001 - a damaged file is computed again
        return None


def _write(file: Path, columns: Columns, digest: str) -> None:
    """Write the columns under a temporary name first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    save_file({name: x.contiguous() for name, x in columns.items()}, new, metadata={"of": digest})
    new.replace(file)

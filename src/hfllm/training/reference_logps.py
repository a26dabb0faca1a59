"""Log-probabilities of the rows under the reference model, computed once before training.

The reference of DPO and KTO is the model that training starts from. Its log-probabilities of the
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
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset, concatenate_datasets
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from hfllm.runs.processes import is_on

Columns = dict[str, torch.Tensor]  # (rows,) each
SAID_FROM = 2_000  # rows; fewer take no time


def needs_second_model(args: Any, peft: Any) -> bool:
    """Whether the reference is a model of its own, loaded from `init` like the first.

    Not with an adapter, which is switched off for it, nor where its log-probabilities are computed
    before training; but under FSDP, which shards the first model only when training begins.
    """
    fsdp = bool(args.fsdp) or is_on("ACCELERATE_USE_FSDP")
    return not peft and (fsdp or not args.precompute_ref_log_probs)


def with_reference(
    dataset: Dataset, file: Path, key: Sequence[Any], accelerator: Accelerator, compute: Callable
) -> Dataset:
    """The data set with the columns of `compute`, which are read from `file` if they are its.

    Args:
        dataset: the rows.
        file: where the columns are kept; the main process writes it.
        key: what they depend on besides the rows; JSON.
        accelerator: of the trainer; all processes call this together.
        compute: () -> the columns of all rows, on every process.
    """
    wanted = [_digest(dataset, key)]
    broadcast_object_list(wanted, from_process=0)  # a sharded model's hash differs by process
    found = [_read(file, wanted[0]) is not None]
    broadcast_object_list(found, from_process=0)
    if not found[0]:
        columns = compute()
        assert all(len(values) == len(dataset) for values in columns.values())
        if accelerator.is_main_process:
            _write(file, columns, wanted[0])
        accelerator.wait_for_everyone()
    else:
        columns = _read(file, wanted[0]) or {}
        assert columns, f"{file} is there for one process and not for another"
    return concatenate_datasets(
        [dataset, Dataset.from_dict({name: x.tolist() for name, x in columns.items()})], axis=1
    )


def over_rows(
    dataset: Dataset, loader: DataLoader, accelerator: Accelerator, compute: Callable, label: str
) -> Columns:
    """Apply `compute` to every batch of a loader and put the results of all processes together.

    Args:
        dataset: that of the loader.
        loader: batches in the order of the rows.
        accelerator: shares the batches out and gathers the results.
        compute: a batch -> columns (rows of the batch,).
        label: for the printed line: "train", "eval".
    """
    if len(dataset) >= SAID_FROM and accelerator.is_main_process:
        words = f"the reference's log-probabilities of {len(dataset):,} {label} rows, once"
        print(f"computing {words}", flush=True)
    parts: dict[str, list[torch.Tensor]] = {}
    for batch in accelerator.prepare(loader):
        for name, values in compute(batch).items():
            values = accelerator.gather_for_metrics(values.float().contiguous())
            parts.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _digest(dataset: Dataset, key: Sequence[Any]) -> str:
    """Hash of the rows and of `key`."""
    digest = hashlib.sha256(json.dumps(list(key)).encode())
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

"""TRL's KTOTrainer on rows that are ready, with a KL estimate of whole optimizer steps.

As dpo_trainer.py: nothing is tokenized, truncated or dropped; the mismatched answers are those of
kto_rows.py. The loss, its keys and metrics are TRL's, but for the KL estimate: TRL takes the mean
over a micro-batch, which for a model that fits with two rows at a time is a mean over two. Here it
is the mean over all rows of the step, computed when its micro-batches are fetched: as many passes,
and the loss depends neither on accumulation nor on the number of processes. With one micro-batch a
step it is TRL's. In an evaluation it is that of a batch.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from trl import KTOTrainer
from trl.trainer.utils import use_adapter

from hfllm.training.kto_rows import PlacedRows
from hfllm.training.reference_logps import (
    kept_or_computed,
    over_rows,
    reference_model,
    rows_digest,
    score_answers_only,
)

STEP_KL = "step_KL"  # a key of a micro-batch


class Enough(int):
    """Rows of a micro-batch; TRL refuses one alone, whose KL would be that of the row itself."""

    def __le__(self, other: int) -> bool:
        """Not 1 or less: a step has other rows."""
        return False


class ReadyKTOTrainer(KTOTrainer):
    """KTOTrainer on `PlacedRows`.

    Args:
        train: the rows of the training, in their order.
        tests: the held-out ones.
        folder: where the reference's log-probabilities are kept.
        kwargs: of KTOTrainer, without its data sets.
    """

    def __init__(
        self, *, train: PlacedRows, tests: PlacedRows | None, folder: Path, **kwargs: Any
    ) -> None:
        self.notes: list[str] | None = None  # of the head, for the manifest; None: not installed
        self._folder, self._placed = folder, {"train": train, "eval": tests}
        self._asks_reference = False  # whether the next call of _compute_kl_logps is for it
        # TRL takes a datasets.Dataset alone, and would hold the rows of every epoch
        rows = {"train_dataset": train.rows, "eval_dataset": tests and tests.rows}
        args, micro_batch = kwargs["args"], kwargs["args"].per_device_train_batch_size
        args.per_device_train_batch_size = Enough(micro_batch)
        super().__init__(**rows, **kwargs)
        args.per_device_train_batch_size = micro_batch
        self._install_head()
        self.train_dataset, self.eval_dataset = self._placed["train"], self._placed["eval"]
        if self.precompute_ref_logps:
            self.ref_model = None  # FSDP: it was needed for the precomputed ones alone

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """The rows as they are."""
        return dataset

    def _install_head(self) -> None:
        """Install the CPU's head, once: the reference's log-probabilities need it in __init__."""
        if self.notes is None:
            self.notes = score_answers_only(self, ("mean_logits",))

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of a step, each with the KL estimate of all of them."""
        batches, items = super().get_batch_samples(*args)
        if self.calculate_KL and batches:
            assert self.model is not None
            self.model.train()  # as in every step
            gains = torch.cat([self._mismatched_gains(batch) for batch in batches])
            mean = self.accelerator.gather(gains).mean()
            batches = [{**batch, STEP_KL: mean} for batch in batches]
        return batches, items

    def _mismatched_gains(self, batch: Any) -> torch.Tensor:
        """Log ratios of model and reference on the mismatched answers of a batch: (rows,)."""
        inputs = self._prepare_inputs(batch)
        base: Any = self.model if self.ref_model is None else self.ref_model
        with torch.no_grad(), self.compute_loss_context_manager():
            ours = super()._compute_kl_logps(self.model_wrapped, inputs)
            if self.precompute_ref_logps:
                return ours - inputs["ref_KL_logps"]
            adapter = self.accelerator.unwrap_model(self.model)
            off = use_adapter(adapter, None) if self.ref_model is None else nullcontext()
            with off:
                return ours - super()._compute_kl_logps(base, inputs)

    def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor | None:
        """Of the model and then of the reference: numbers whose difference is the step's KL."""
        if STEP_KL in batch:
            step_kl = batch.pop(STEP_KL)
            batch["ref_KL_logps"] = torch.zeros(len(batch["label"]), device=step_kl.device)
            self._asks_reference = not self.precompute_ref_logps
            return batch["ref_KL_logps"] + step_kl
        if self._asks_reference:
            self._asks_reference = False
            return batch["ref_KL_logps"]
        return super()._compute_kl_logps(model, batch)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Give the placed rows ref_logps and, with a KL, ref_KL_logps, as kept or anew."""
        self._install_head()
        placed: Any = self._placed[name]
        model, args = reference_model(self), self.args
        loader: Any = DataLoader(placed, batch_size, collate_fn=self.data_collator)

        def of_batch(batch: Any) -> dict[str, Any]:
            answers, others = self.compute_ref_log_probs(model, batch)
            return {"ref_logps": answers} | ({} if others is None else {"ref_KL_logps": others})

        places = (list(placed.order), placed.answers)
        columns = kept_or_computed(
            self._folder / f"reference-{name}.safetensors",
            (rows_digest(dataset), *places, self._precompute_model_hash, args.bf16, args.fp16,
             batch_size, args.world_size),
            self.accelerator,
            lambda: over_rows(loader, self.accelerator, of_batch, name),
        )  # fmt: skip
        self._placed[name] = placed.with_columns(columns)
        return dataset

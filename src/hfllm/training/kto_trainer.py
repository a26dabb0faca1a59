"""TRL's KTOTrainer on rows that are ready, with the mismatched answers that kto_rows.py chose.

As dpo_trainer.py: nothing is tokenized, truncated or dropped, and nothing is paired for the KL
estimate. The loss, its keys and metrics are TRL's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import DataLoader
from trl import KTOTrainer

from hfllm.training.kto_rows import PlacedRows
from hfllm.training.reference_logps import (
    kept_or_computed,
    over_rows,
    reference_model,
    rows_digest,
    score_answers_only,
)


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
        # TRL takes a datasets.Dataset alone, and would hold the rows of every epoch
        rows = {"train_dataset": train.rows, "eval_dataset": tests and tests.rows}
        super().__init__(**rows, **kwargs)
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

"""TRL's DPOTrainer on rows that are ready: it tokenizes, truncates and drops nothing.

TRL tokenizes messages itself: a `<|end|>` that a user typed would end a turn, an answer would end
with what the template writes behind its end of turn, and pairs whose prompt alone is too long would
vanish. Here rows come rendered, masked and counted (answer_rows.py). The loss, its keys and metrics
are TRL's. Overridden besides: where reference log-probabilities are kept (reference_logps.py), and
on a CPU the head, which then scores answer tokens alone (fast_cpu/trained_head.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from torch.utils.data import DataLoader
from trl import DPOTrainer

from hfllm.training.reference_logps import (
    kept_or_computed,
    over_rows,
    reference_model,
    rows_digest,
    score_answers_only,
)


class ReadyDPOTrainer(DPOTrainer):
    """DPOTrainer on rows of `pair_of_answers`.

    Args:
        order: numbers of the rows of `train_dataset` in the order of training; they may repeat.
        folder: where the reference's log-probabilities are kept.
        kwargs: of DPOTrainer; `train_dataset` has every row once.
    """

    def __init__(self, *, order: Sequence[int], folder: Path, **kwargs: Any) -> None:
        self.notes: list[str] | None = None  # of the head, for the manifest; None: not installed
        self._folder = folder
        super().__init__(**kwargs)
        self._install_head()
        if self.precompute_ref_logps:
            self.ref_model = None  # FSDP: it was needed for the precomputed ones alone
        rows: Any = self.train_dataset
        self.train_dataset = rows.select(order)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """The rows as they are."""
        return dataset

    def _install_head(self) -> None:
        """Install the CPU's head, once: the reference's log-probabilities need it in __init__."""
        if self.notes is None:
            weighs = ("log_sum_sq_probs",) if self.use_weighting else ()
            self.notes = score_answers_only(self, ("mean_logits", *weighs))

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Add the columns ref_chosen_logps and ref_rejected_logps, as kept or anew."""
        self._install_head()
        model, args = reference_model(self), self.args
        loader = DataLoader(dataset, batch_size, collate_fn=self.data_collator)

        def of_batch(batch: Any) -> dict[str, Any]:
            chosen, rejected = self.compute_ref_log_probs(model, batch)
            return {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}

        depends_on = (rows_digest(dataset), self._precompute_model_hash, self.ld_alpha)
        columns = kept_or_computed(
            self._folder / f"reference-{name}.safetensors",
            (*depends_on, args.bf16, args.fp16, batch_size, args.world_size),
            self.accelerator,
            lambda: over_rows(loader, self.accelerator, of_batch, name),
        )
        added = Dataset.from_dict({key: values.tolist() for key, values in columns.items()})
        return concatenate_datasets([dataset, added], axis=1)

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

from datasets import Dataset
from torch.utils.data import DataLoader
from trl import DPOTrainer
from trl.models import prepare_deepspeed
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu.trained_head import Scoring, score_trained_positions, why_kept
from hfllm.runs.processes import is_sharded
from hfllm.training.reference_logps import over_rows, with_reference


class ReadyDPOTrainer(DPOTrainer):
    """DPOTrainer on rows of `pair_of_answers`.

    Args:
        order: numbers of the rows of `train_dataset` in the order of training; they may repeat.
        folder: where the reference's log-probabilities are kept.
        kwargs: of DPOTrainer; `train_dataset` has every row once.
    """

    def __init__(self, *, order: Sequence[int], folder: Path, **kwargs: Any) -> None:
        self.notes: list[str] = []
        self._folder, self._has_head = folder, False
        given_reference = kwargs.get("ref_model") is not None
        super().__init__(**kwargs)
        self._install_head()
        if self.precompute_ref_logps and given_reference:
            self.ref_model = None  # FSDP: it was needed for the precomputed ones alone
        rows: Any = self.train_dataset
        self.train_dataset = rows.select(order)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """The rows as they are."""
        return dataset

    def _install_head(self) -> None:
        """On a CPU let the head score answer tokens alone; TRL's scores all positions there."""
        if self._has_head or self.accelerator.device.type != "cpu":
            return
        self._has_head = True
        if is_sharded(self.args):
            self.notes.append("the model is sharded: TRL's head is kept, slower on a CPU")
            return
        extra = ("mean_logits", *(["log_sum_sq_probs"] if self.use_weighting else []))
        how = Scoring(extra=extra)
        for model in (self.model, self.ref_model):
            model = model and self.accelerator.unwrap_model(model)
            if model and not score_trained_positions(model, FusedCausalLMOutput, how):
                self.notes.append(why_kept(model))
        self.notes = list(dict.fromkeys(self.notes))

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Add the columns ref_chosen_logps and ref_rejected_logps, as kept or anew."""
        self._install_head()
        loader = DataLoader(dataset, batch_size, collate_fn=self.data_collator)
        model = self._reference()

        def of_batch(batch: Any) -> dict[str, Any]:
            chosen, rejected = self.compute_ref_log_probs(model, batch)
            return {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}

        args, accelerator = self.args, self.accelerator
        key = (self._precompute_model_hash, self.ld_alpha, args.bf16, args.fp16, batch_size)
        return with_reference(
            dataset,
            self._folder / f"reference-{name}.safetensors",
            key,
            accelerator,
            lambda: over_rows(dataset, loader, accelerator, of_batch, name),
        )

    def _reference(self) -> Any:
        """The model that the reference's log-probabilities come from, as TRL chooses it.

        DeepSpeed needs an engine: before training its weights are still on the CPU, or in shards.
        """
        model: Any = self.model
        if self.ref_model is None and self.is_deepspeed_enabled:
            if self._precompute_engine is None:
                self._precompute_engine = prepare_deepspeed(model, self.accelerator)
            return self._precompute_engine
        return self.ref_model or model

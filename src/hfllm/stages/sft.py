"""SFT: trl's SFTTrainer on conversations, loss on the assistant's tokens and end of turn only.

Rows come rendered, masked by the gate and packed from data/; trl's own preparation would truncate
and pack with losses that the ledger cannot see, so it is switched off.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from trl import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.data.ledger import Ledger
from hfllm.data.packing.dataset import as_hf_dataset
from hfllm.data.packing.pack import PackedCollator
from hfllm.fast_cpu.trained_head import KEPT, score_trained_positions
from hfllm.recipe.schema import SFTStageConfig
from hfllm.recipe.trainers import build_trainer_config
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process, is_sharded
from hfllm.runs.record import recording
from hfllm.training.datasets import (
    Rows,
    chat_mixture,
    chat_rows,
    packed_once,
    packing_first,
    text_rows,
)
from hfllm.training.eval_loss import nll_metrics
from hfllm.training.fit import TrainingInfo, fit, rows_per_step, total_rows
from hfllm.training.load import end_ids, load_init, load_tokenizer, peft_config
from hfllm.training.optimizers import optimizer_factory
from hfllm.training.schedule import sft_decay


class OnePassSFTTrainer(SFTTrainer):
    """SFTTrainer that evaluates in one pass: trl's runs the model again for logits (B, T, V)."""

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """trl's, with (B, 2) of nll sum and tokens in the place of the logits, as `row_sums`."""
        if prediction_loss_only:
            return super().prediction_step(model, inputs, True, ignore_keys)
        kept: list[Any] = []

        def keep(_module: Any, _args: Any, output: Any) -> None:
            # Label smoothing has a pass for logits, too.
            if isinstance(output, FusedCausalLMOutput):
                kept.append(output)

        hook = model.register_forward_hook(keep)
        try:
            loss, _, _ = super().prediction_step(model, inputs, True, ignore_keys)
        finally:
            hook.remove()
        (scored,) = kept
        sums = torch.stack([-scored.log_probs.float().sum(1), scored.label_mask.sum(1)], dim=1)
        return loss, sums, inputs["labels"]


def run(config: SFTStageConfig, step: Step) -> None:
    """Build the trainer and fit it, recorded."""
    with recording(step, is_main_process()) as manifest:
        trainer, info = build(config, step, manifest)
        fit(trainer, step, manifest, info)


def build(
    config: SFTStageConfig, step: Step, manifest: Manifest
) -> tuple[OnePassSFTTrainer, TrainingInfo]:
    """The trainer, and what `fit` needs to know about it."""
    args = build_trainer_config(
        step.spec, step.seed, str(step.checkpoints), dataset_kwargs={"skip_prepare_dataset": True}
    )
    tokenizer = load_tokenizer(step, manifest.notes)
    model = load_init(step, AutoModelForCausalLM, tokenizer)
    data, train_folder = config.data, step.data / "train"
    train = packed_once(
        train_folder,
        packing_first(args),
        lambda: _rows(config, step, tokenizer, train_folder),
    )
    heldout = _heldout(config, step, args, tokenizer)
    if heldout:
        manifest.notes += heldout.ledger.left_out("held-out chats")
    manifest.ledger = train.ledger.to_json()
    rows: Any = chat_mixture(train, data, partial(total_rows, args), step.seed)
    manifest.metrics |= {f"epochs/{name}": round(n, 3) for name, n in rows.epochs.items()}
    args.max_steps, args.num_train_epochs = len(rows) // rows_per_step(args), 1.0
    args.lr_scheduler_kwargs = sft_decay(args)
    trainer = OnePassSFTTrainer(
        model=model,
        args=args,
        train_dataset=as_hf_dataset(rows),
        eval_dataset=as_hf_dataset(heldout.joined()) if heldout else None,
        processing_class=tokenizer,
        data_collator=PackedCollator(tokenizer.pad_token_id),
        optimizer_cls_and_kwargs=optimizer_factory(config.optimizer, model, args),
        peft_config=peft_config(step, "CAUSAL_LM", model, tokenizer),
        compute_metrics=nll_metrics(None),
    )
    # a sharded one can not be tried before it is launched
    fused = is_sharded(args) or score_trained_positions(trainer.model, FusedCausalLMOutput)
    if not fused and model.device.type == "cpu":
        manifest.notes.append(KEPT)
    stats = train.stats
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=True),
        row_tokens=stats["tokens"] / max(1, stats["rows"]),
        seq_len=data.seq_len,
        extra={"trained_share": round(stats["trained_tokens"] / max(1, stats["tokens"]), 4)},
    )
    return trainer, info


def _rows(config: SFTStageConfig, step: Step, tokenizer: Any, folder: Path) -> Ledger:
    """Pack the chats, and the documents that are replayed among them."""
    data = config.data
    ledger = chat_rows(data.mixture, data, step, tokenizer, folder)
    if data.replay:
        ledger.merge(text_rows(data.replay, data.seq_len, step, tokenizer, folder))
    return ledger


def _heldout(config: SFTStageConfig, step: Step, args: Any, tokenizer: Any) -> Rows | None:
    if not config.data.heldout:
        return None
    folder = step.data / "heldout"
    data = dataclasses.replace(config.data, decontaminate=[])  # they may be the tests themselves
    return packed_once(
        folder,
        packing_first(args),
        lambda: chat_rows(data.heldout, data, step, tokenizer, folder, show=False),
    )

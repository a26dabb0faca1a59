"""Pretrain: a causal LM from its configuration (or from `init`) on packed documents.

Documents are packed into rows of seq_len with positions restarted and no attention across
documents; the held-out loss is exact and also told in bits per byte, which survives a change of
vocabulary. One line per noun, then `fit`.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM, Trainer

from hfllm.data.packing.pack import PackedCollator
from hfllm.modeling.build import build_model
from hfllm.recipe.schema import PretrainConfig
from hfllm.recipe.trainers import build_trainer_config
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process
from hfllm.runs.record import recording
from hfllm.training.callbacks import SampleText
from hfllm.training.datasets import Rows, mixture, packed_once, packing_first, text_rows
from hfllm.training.eval_loss import nll_metrics, row_sums
from hfllm.training.fit import TrainingInfo, fit, rows_per_step
from hfllm.training.load import end_ids, load_init, load_tokenizer
from hfllm.training.optimizers import optimizer_factory
from hfllm.training.schedule import decay_arguments


def run(config: PretrainConfig, step: Step) -> None:
    """Build the trainer and fit it, recorded."""
    with recording(step, is_main_process()) as manifest:
        trainer, info = build(config, step, manifest)
        fit(trainer, step, manifest, info)


def build(config: PretrainConfig, step: Step, manifest: Manifest) -> tuple[Trainer, TrainingInfo]:
    """The trainer, and what `fit` needs to know about it."""
    forced = decay_arguments(step.spec) | ({} if config.data.heldout else {"eval_strategy": "no"})
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints), **forced)
    if args.max_steps <= 0:
        key = f"{step.name}.trainer.max_steps"
        raise ValueError(f"{key} must be set: the mixture is laid out for it")
    tokenizer = load_tokenizer(step, manifest.notes)
    model = _model(config, step, tokenizer)
    train, heldout = _rows(config, step, args, tokenizer)
    if heldout:
        manifest.notes += heldout.ledger.left_out("held-out documents")
    manifest.ledger = train.ledger.to_json()
    rows = mixture(train, config.data.mixture, args.max_steps * rows_per_step(args), step.seed)
    manifest.metrics |= {f"epochs/{name}": round(n, 3) for name, n in rows.epochs.items()}
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=heldout.joined() if heldout else None,
        processing_class=tokenizer,
        data_collator=PackedCollator(tokenizer.pad_token_id),
        optimizer_cls_and_kwargs=optimizer_factory(config.optimizer, model, args),
        preprocess_logits_for_metrics=row_sums,
        compute_metrics=nll_metrics(heldout.ledger.total("kept", "bytes") if heldout else None),
        callbacks=[SampleText(config.sample_prompts, tokenizer, step.folder / "samples.jsonl")],
    )
    stats = train.stats
    places = max(1, stats["tokens"] + stats["padding"])
    extra = {"padding_share": round(stats["padding"] / places, 4)}
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=False),
        row_tokens=stats["tokens"] / max(1, stats["rows"]),
        seq_len=config.data.seq_len,
        extra=extra,
    )
    return trainer, info


def _model(config: PretrainConfig, step: Step, tokenizer: Any) -> Any:
    if config.init:
        return load_init(step, AutoModelForCausalLM, tokenizer)
    return build_model(config.model, tokenizer, config.data.seq_len, step.seed)


def _rows(
    config: PretrainConfig, step: Step, args: Any, tokenizer: Any
) -> tuple[Rows, Rows | None]:
    data = config.data
    train = packed_once(
        step.data / "train",
        packing_first(args),
        lambda: text_rows(data.mixture, data.seq_len, step, tokenizer, step.data / "train"),
    )
    if not data.heldout:
        return train, None
    folder, limit = step.data / "heldout", data.max_heldout_tokens
    heldout = packed_once(
        folder,
        packing_first(args),
        lambda: text_rows(data.heldout, data.seq_len, step, tokenizer, folder, limit),
    )
    return train, heldout

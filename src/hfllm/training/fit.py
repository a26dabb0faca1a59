"""Run a trainer: resume, train, save the model, evaluate, write the manifest's figures.

In order: find the newest complete checkpoint (incomplete ones are reported and removed); train,
with callbacks for metrics, checkpoint markers and signals; save the final model with tokenizer,
chat template and generation config; evaluate; count tokens and FLOPs. Every training stage builds
its trainer and calls `fit`, which works with any subclass of transformers' Trainer.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import GenerationConfig, Trainer
from transformers.trainer_callback import PrinterCallback

from hfllm.modeling.adapters import merge_adapter, without_adapter
from hfllm.modeling.flops import count_parameters, flops_per_token
from hfllm.runs.checkpoints import newest_complete, remove_incomplete
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process, is_on, is_sharded
from hfllm.training.callbacks import MetricsLog, StopOnSignal
from hfllm.training.checkpoints import MarkCheckpoints, without_tied_keys
from hfllm.training.defaults import choose_defaults, chosen_lines
from hfllm.training.eval_loss import FinalEvaluation
from hfllm.training.finite_checks import StopWhereNotFinite, check_saved_weights
from hfllm.training.progress import ProgressLines, model_line, step_plan
from hfllm.training.resume import (
    Progress,
    TokensSeen,
    check_same_everywhere,
    keep_rows_per_step,
    other_precision,
    rows_per_step,
    what_is_anew,
)
from hfllm.training.saved_tokenizer import check_saved_tokenizer
from hfllm.training.schedule import short_training_lines, shorten_warmup


@dataclass
class TrainingInfo:
    """What a stage tells `fit` about its training, for the saved model and the figures."""

    tokenizer: Any
    end_ids: list[int]  # token ids that stop generation
    row_tokens: float | None = None  # mean tokens of a row, without padding
    seq_len: int = 0
    flops_per_token: float | None = None  # None: one forward and backward of the model
    passes: Mapping[str, float] = field(default_factory=dict)  # over each source, in all
    extra: dict[str, Any] = field(default_factory=dict)  # figures known before training


def build_and_fit(build: Any, step: Step, manifest: Manifest) -> None:
    """Build a step's trainer with its stage's `build`, and `fit` it."""
    choose_defaults(step.recipe, [step.name], fetch=True)
    lines = chosen_lines(step.spec)
    manifest.notes += lines
    if is_main_process():
        print("".join(f"{step.name}: {line}\n" for line in lines), end="", flush=True)
    keep_rows_per_step(step)
    trainer, info = build(step.spec.config, step, manifest)
    fit(trainer, step, manifest, info)


def fit(trainer: Trainer, step: Step, manifest: Manifest, info: TrainingInfo) -> None:
    """Train to the end (or until a signal), save, and fill the manifest.

    Args:
        trainer: built by the stage.
        step: gives the folders of checkpoints, metrics and model.
        manifest: gets metrics, notes, tokens and FLOPs.
        info: what the trainer does not know.

    Raises:
        ValueError: FSDP was launched, but would not be used; or the saved tokenizer would be loaded
            as another one; or the training diverged (a loss, a gradient or a saved weight is not
            finite) or learned nothing.
        SystemExit: 128 + signal, after a checkpoint was saved.
    """
    check_engine(trainer)
    model = trainer.accelerator.unwrap_model(trainer.model)
    check_saved_tokenizer(without_adapter(model).config, info.tokenizer)
    shorten_warmup(step.spec, trainer.args)
    stop = StopOnSignal()
    per_step = rows_per_step(trainer.args)
    tokens_per_step = int(per_step * info.row_tokens) if info.row_tokens else None
    trainer.remove_callback(PrinterCallback)
    progress = ProgressLines(step.name, step_plan(trainer, info.row_tokens, info.passes))
    shown = step.stage.console
    trainer.add_callback(MetricsLog(step.metrics, step.name, shown, tokens_per_step, progress))
    trainer.add_callback(stop)
    finite = StopWhereNotFinite(trainer, step)
    trainer.add_callback(finite)
    final = FinalEvaluation(trainer)
    trainer.add_callback(final)
    checkpoint = _checkpoint(trainer, step, manifest)
    tokens = TokensSeen(trainer, tokens_per_step, checkpoint)
    trainer.add_callback(MarkCheckpoints(tokens.save))
    parameters = count_parameters(trainer.accelerator.unwrap_model(trainer.model))
    if trainer.is_world_process_zero():
        lines = [model_line(trainer, parameters)]
        lines += short_training_lines(step.spec, trainer.args)
        print("\n".join(f"{step.name}: {line}" for line in lines), flush=True)
    with without_tied_keys(trainer.accelerator.unwrap_model(trainer.model)):
        trainer.train(resume_from_checkpoint=checkpoint)
    stop.exit_if_stopped()
    finite.check_learned()
    _save(trainer, step, manifest, info)
    metrics = {"train_loss": mean_loss(trainer.state.log_history), "parameters": parameters}
    metrics |= {"steps": trainer.state.global_step, "epochs": trainer.state.epoch}
    metrics |= final.metrics()
    manifest.metrics |= {k: v for k, v in (metrics | info.extra).items() if v is not None}
    _count_cost(trainer, manifest, info, tokens.at(trainer.state.global_step))
    if trainer.is_world_process_zero():
        check_saved_weights(step)


def _count_cost(trainer: Trainer, manifest: Manifest, info: TrainingInfo, seen: int) -> None:
    """Count tokens and FLOPs of the whole training."""
    per_token = info.flops_per_token
    if per_token is None:
        model = trainer.accelerator.unwrap_model(trainer.model)
        per_token = flops_per_token(model, info.seq_len)
    manifest.tokens = seen
    manifest.flops = (per_token or 0.0) * manifest.tokens


def mean_loss(history: list[dict[str, Any]]) -> float | None:
    """Mean loss over the whole training; transformers' figure starts again at a resume."""
    total, last = 0.0, 0
    for row in history:
        if "loss" in row:
            total += float(row["loss"]) * (row["step"] - last)
            last = row["step"]
    return total / last if last else None


def total_rows(args: Any, rows: int) -> int:
    """Rows of the whole training, in whole optimizer steps; the last one may begin a new epoch."""
    per_step = rows_per_step(args)
    if args.max_steps > 0:
        return args.max_steps * per_step
    return -(-int(rows * args.num_train_epochs) // per_step) * per_step


def _checkpoint(trainer: Trainer, step: Step, manifest: Manifest) -> str | None:
    if not step.spec.config.resume:  # removed, so that a later run does not resume from them
        with trainer.args.main_process_first(local=False, desc="checkpoints"):
            if trainer.is_world_process_zero():
                shutil.rmtree(step.checkpoints, ignore_errors=True)
        return None
    found, notes = newest_complete(step.checkpoints)
    check_same_everywhere(found, trainer.args.world_size)
    manifest.notes += notes
    with trainer.args.main_process_first(local=False, desc="checkpoints"):
        if trainer.is_world_process_zero():
            for note in notes:
                print(note, flush=True)
            remove_incomplete(step.checkpoints)
    if found is None:
        return None
    lines = [f"{step.name}: resuming from {found}"]
    before = Progress.read(found)
    new = (what_is_anew(step, trainer.args, before), other_precision(step, trainer.args, before))
    lines += filter(None, new)
    manifest.notes += lines
    if trainer.is_world_process_zero():
        print("\n".join(lines), flush=True)
    return str(found)


def check_engine(trainer: Any) -> None:
    """Raise ValueError if FSDP was launched but would not be used.

    accelerate silently ignores FSDP if the recipe keeps the step on the CPU.
    """
    if is_on("ACCELERATE_USE_FSDP") and not trainer.is_fsdp_enabled:
        raise ValueError(
            "trainer.use_cpu: FSDP was launched, and accelerate silently trains without it on a "
            "CPU; remove use_cpu from the recipe, or launch with configs/accelerate/ddp.yaml"
        )


def _save(trainer: Trainer, step: Step, manifest: Manifest, info: TrainingInfo) -> None:
    """Save weights, tokenizer, template and generation config in a folder for from_pretrained."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    plain = without_adapter(model)
    if getattr(plain, "generation_config", None) is not None:
        plain.generation_config = GenerationConfig(
            bos_token_id=info.tokenizer.bos_token_id,
            eos_token_id=info.end_ids,
            pad_token_id=info.tokenizer.pad_token_id,
        )
    trainer.save_model(str(step.model))
    if trainer.is_world_process_zero():
        info.tokenizer.save_pretrained(step.model)
        sharded = is_sharded(trainer.args)
        manifest.notes += merge_adapter(model, step.model, step.folder / "adapter", sharded)

"""SFT: train with trl's SFTTrainer on chats, loss on the assistant's tokens and end of turn only.

The rows are rendered with the chat template, masked, checked and packed by hfllm before the trainer
gets them. trl's own preparation is switched off: it truncates, and what it cuts off would not be in
the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hfllm.recipe.checks import (
    check_chat_data,
    check_no_cache,
    check_packed_attention,
    is_known_attention,
)
from hfllm.recipe.config import ChatDataConfig, TrainConfig
from hfllm.recipe.ranges import NOT_NEGATIVE
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import (
    LANGUAGE_MODEL,
    Figure,
    Rate,
    RowShape,
    Stage,
    file_ref,
    model_ref,
)
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import (
    CONSOLE_HEAD,
    CONSOLE_TAIL,
    ENTROPY,
    MILLIONS,
    SEQUENTIAL,
    TOKEN_ACCURACY,
    TOKEN_LOSS,
    TRAINER_CHARTS,
    TRAINER_UNCHARTED,
    TRL_DEFAULTS,
    TRL_ELSEWHERE,
    TRL_RANGES,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import compact, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_sharded

if TYPE_CHECKING:
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.sft_trainer import OnePassSFTTrainer


@dataclass
class Config(TrainConfig):
    """Supervised fine-tuning on chats, loss on the assistant's tokens only."""

    init: str | None = model_ref("pretrain", required=True)
    # keep (the template of `init`), hfllm (ours), or a .jinja file
    chat_template: str | None = file_ref(keywords=("keep", "hfllm"))
    optimizer: str | None = None  # as in pretrain
    data: ChatDataConfig = field(default_factory=ChatDataConfig)


def check(spec: StepSpec) -> Iterator[str]:
    """Refuse attention that may mix packed chats, and check the keys of `data`."""
    attention = spec.config.attn_implementation
    if is_known_attention(attention):
        yield from check_packed_attention("attn_implementation", attention)
    yield from check_no_cache(spec)
    yield from check_chat_data(spec)


def row(spec: StepSpec) -> RowShape:
    """A packed row; about half of it is answers, which alone get logits."""
    seq_len = spec.config.data.seq_len
    return RowShape(tokens=seq_len, scored=seq_len * 6 // 10, fused=True)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no chats or that the mask gate refuses; a wrong template or adapter."""
    from hfllm.training.row_problems import chat_problems

    chats, replay = dict.fromkeys(("data.mixture", "data.heldout"), "chats"), "data.replay"
    yield from chat_problems(step, {**chats, replay: "texts", "data.decontaminate": "rows"})


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The held-out loss, else the training loss."""
    for keys, unit in ((("eval_loss",), "held-out loss"), (("loss",), "training loss")):
        if (value := view.metric(*keys)) is not None:
            return short(value), unit
    return ()


def sentence(view: StepView) -> str:
    """The tokens with a loss, and the held-out loss."""
    tokens, loss = view.figure("tokens"), view.metric("eval_loss")
    if not tokens:
        return ""
    tail = f" (held-out loss {short(loss)})" if loss is not None else ""
    return f"In {view.name}, it learned to answer from {compact(tokens)} tokens{tail}."


STAGE = Stage(
    config=Config,
    trainer="trl:SFTConfig",
    makes=LANGUAGE_MODEL,
    method="Supervised fine-tuning, loss on the assistant's tokens (trl SFTTrainer).",
    defaults=TRL_DEFAULTS
    | {
        "train_sampling_strategy": SEQUENTIAL,
        "max_length": (None, "rows are truncated and counted before packing, not by the trainer"),
        "learning_rate": (5e-4, MILLIONS),
        "lr_scheduler_type": ("cosine", "decays to zero within the stage"),
        "warmup_steps": (10, "Adam's second moment needs a few steps"),
        "per_device_train_batch_size": (16, "library default 8"),
        "num_train_epochs": (2.0, "library default 3"),
    },
    set_elsewhere=TRL_ELSEWHERE
    | {
        "packing": "set the step's data.packing",
        "max_length": "set the step's data.seq_len",
        "assistant_only_loss": "the loss is always on the assistant's tokens alone",
        "completion_only_loss": "the loss is always on the assistant's tokens alone",
        "dataset_kwargs": "hfllm tokenizes the rows before the trainer gets them",
        "dataset_text_field": "rename columns with `columns:` of a source",
    },
    ranges={"router_aux_loss_coef": NOT_NEGATIVE} | TRL_RANGES,
    check=check,
    first_rows=first_rows,
    row=row,
    rates=(
        Rate(5e8, 1e-4, 5e-4),
        Rate(3e9, 3e-5, 3e-4),
        Rate(3e10, 2e-5, 2e-4),
        Rate(1e13, 1e-5, 1e-4),
    ),
    mixes=True,
    sets_decay_steps=True,
    console=(*CONSOLE_HEAD, "mean_token_accuracy", *CONSOLE_TAIL),
    charts=(TOKEN_LOSS, ENTROPY, TOKEN_ACCURACY, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, "eval_nll_per_token", "eval_tokens"),
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[OnePassSFTTrainer, TrainingInfo]:
    """Build the SFT trainer: model, packed chats in the order of the mixture, held-out chats."""
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import FusedCausalLMOutput

    from hfllm.data.packing.dataset import as_hf_dataset
    from hfllm.data.packing.mixture import chat_mixture
    from hfllm.fast_cpu.trained_head import score_trained_positions, why_kept
    from hfllm.training.datasets import packed_chats
    from hfllm.training.eval_loss import nll_metrics
    from hfllm.training.fit import TrainingInfo, rows_per_step, total_rows
    from hfllm.training.load import end_ids, load_init, load_tokenizer, peft_config
    from hfllm.training.optimizers import optimizer_factory
    from hfllm.training.schedule import sft_decay
    from hfllm.training.sft_trainer import OnePassSFTTrainer

    args = build_trainer_config(
        step.spec, step.seed, str(step.checkpoints), dataset_kwargs={"skip_prepare_dataset": True}
    )
    tokenizer = load_tokenizer(step, manifest.notes)
    model = load_init(step, AutoModelForCausalLM, tokenizer)
    train, heldout = packed_chats(config.data, step, args, tokenizer, [model], manifest.notes)
    if heldout:
        manifest.notes += heldout.ledger.left_out("held-out chats")
    manifest.ledger = train.ledger.to_json()
    rows: Any = chat_mixture(train, config.data, partial(total_rows, args), step.seed)
    manifest.metrics |= {f"epochs/{name}": round(n, 3) for name, n in rows.epochs.items()}
    args.max_steps, args.num_train_epochs = len(rows) // rows_per_step(args), 1.0
    args.lr_scheduler_kwargs = sft_decay(args)
    trainer = OnePassSFTTrainer(
        model=model,
        args=args,
        train_dataset=as_hf_dataset(rows),
        eval_dataset=as_hf_dataset(heldout.joined()) if heldout else None,
        processing_class=tokenizer,
        data_collator=train.collator(tokenizer.pad_token_id),
        optimizer_cls_and_kwargs=optimizer_factory(config.optimizer, model, args),
        peft_config=peft_config(step, "CAUSAL_LM", model, tokenizer),
        compute_metrics=nll_metrics(None),
    )
    # a sharded model cannot be compared before the processes are set up
    fused = is_sharded(args) or score_trained_positions(trainer.model, FusedCausalLMOutput)
    if not fused and model.device.type == "cpu":
        manifest.notes.append(why_kept(trainer.model))
    stats = train.stats
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=True),
        row_tokens=train.row_tokens,
        seq_len=config.data.seq_len,
        passes=rows.epochs,
        extra={"trained_share": round(stats["trained_tokens"] / max(1, stats["tokens"]), 4)},
    )
    return trainer, info

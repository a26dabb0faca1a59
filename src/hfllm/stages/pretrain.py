"""Pretrain: train a causal LM from its config (or from `init`) on packed documents.

Documents are packed into rows of `seq_len` tokens; positions restart at each document, and there is
no attention between documents. A model that would let them see each other all the same is found out
before training (modeling/isolation.py) and gets one document a row. The held-out loss is the exact
mean over all tokens, and is also given in bits per byte, which can be compared between tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfllm.recipe.checks import (
    check_no_cache,
    check_packed_attention,
    is_known_attention,
)
from hfllm.recipe.config import SourceConfig, TextDataConfig, TrainConfig
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import (
    LANGUAGE_MODEL,
    Chart,
    Figure,
    Rate,
    RowShape,
    Stage,
    model_ref,
)
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import (
    CONSOLE_HEAD,
    CONSOLE_TAIL,
    MILLIONS,
    SEQUENTIAL,
    TOKEN_LOSS,
    TRAINER_CHARTS,
    TRAINER_DEFAULTS,
    TRAINER_UNCHARTED,
    with_eval,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import compact, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

if TYPE_CHECKING:
    from transformers import Trainer

    from hfllm.training.fit import TrainingInfo

BITS_PER_BYTE = Chart(
    "Bits per byte",
    with_eval("bpb"),
    "bits per byte of text",
    "Bits the model needs for one byte of text it has never seen. Unlike loss per token it "
    "can be compared between models with different tokenizers.",
    better="down",
    log=True,
)


def _curated_text() -> TextDataConfig:
    return TextDataConfig(mixture=[SourceConfig(step="curate")])


@dataclass
class Config(TrainConfig):
    """Train a causal LM from scratch, or continue from `init` (midtraining)."""

    init: str | None = model_ref()
    model: dict[str, Any] = field(default_factory=dict)  # keys of any transformers model config
    data: TextDataConfig = field(default_factory=_curated_text)
    optimizer: str | None = None  # null: trainer.optim; "muon": Muon for matrices, else AdamW
    sample_prompts: list[str] = field(default_factory=list)  # continued at each evaluation


def check(spec: StepSpec) -> Iterator[str]:
    """Refuse attention and caches that may mix packed documents, and adapters."""
    config: Config = spec.config
    yield from check_no_cache(spec)
    attention = config.attn_implementation
    if config.init:
        if is_known_attention(attention):
            yield from check_packed_attention("attn_implementation", attention)
    elif not attention:
        key = "attn_implementation"
        yield from check_packed_attention(f"model.{key}", config.model.get(key))
    elif is_known_attention(attention):
        yield f"attn_implementation: write it into {spec.name}.model"
    if config.peft:
        yield "peft: pretrain trains every weight; leave it out"


def row(spec: StepSpec) -> RowShape:
    """A packed row, every position of which gets logits."""
    seq_len = spec.config.data.seq_len
    return RowShape(tokens=seq_len, scored=seq_len)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no documents."""
    from hfllm.training.row_problems import document_problems

    yield from document_problems(step, {"data.mixture": "texts", "data.heldout": "texts"})


def key_figure(view: StepView) -> Figure | tuple[()]:
    """Bits per byte of held-out text, else the held-out or the training loss."""
    for keys, unit in (
        (("eval_bpb",), "bits per byte"),
        (("eval_loss",), "held-out loss"),
        (("loss",), "training loss"),
    ):
        if (value := view.metric(*keys)) is not None:
            return short(value), unit
    return ()


def sentence(view: StepView) -> str:
    """The model's size, the tokens it was trained on, and its bits per byte on held-out text."""
    tokens, bpb = view.figure("tokens"), view.metric("eval_bpb")
    size = view.metric("parameters")
    if not tokens:
        return ""
    who = f"a model of {compact(size)} parameters" if size else "the model"
    tail = f" and reached {short(bpb)} bits per byte on held-out text" if bpb is not None else ""
    return f"In {view.name}, {who} was trained on {compact(tokens)} tokens{tail}."


# Brown et al. 2020 (GPT-3), table 2.1: 125M, 350M, 760M, 1.3B, 2.7B, 6.7B, 13B and more
RATES = tuple(
    Rate(up_to, rate, rate)
    for up_to, rate in (
        (2e8, 6e-4), (5e8, 3e-4), (1e9, 2.5e-4), (2e9, 2e-4), (4e9, 1.6e-4), (1e10, 1.2e-4),
        (1e13, 1e-4),
    )
)  # fmt: skip

STAGE = Stage(
    config=Config,
    trainer="transformers:TrainingArguments",
    makes=LANGUAGE_MODEL,
    method="Causal language modelling on packed documents (transformers Trainer).",
    defaults=TRAINER_DEFAULTS
    | {
        "lr_scheduler_type": (
            "warmup_stable_decay",
            "any step of the plateau can be annealed later",
        ),
        "learning_rate": (3e-3, MILLIONS),
        "warmup_steps": (20, "Adam's second moment needs a few steps"),
        "weight_decay": (0.1, "usual for pretraining"),
        "adam_beta2": (0.95, "usual for pretraining; 0.999 reacts too slowly to loss spikes"),
        "train_sampling_strategy": SEQUENTIAL,
        "max_steps": (1000, "a length must be set: the order of rows is computed for it"),
        "per_device_train_batch_size": (16, "library default 8"),
        "eval_strategy": ("steps", "bits per byte during training"),
        "eval_steps": (200, "bits per byte during training"),
    },
    set_elsewhere={"num_train_epochs": "set max_steps; the order of rows is computed for it"},
    check=check,
    first_rows=first_rows,
    row=row,
    rates=RATES,
    chat=False,
    mixes=True,
    sets_decay_steps=True,
    fixed_shapes=True,
    console=(*CONSOLE_HEAD, "eval_bpb", *CONSOLE_TAIL),
    charts=(BITS_PER_BYTE, TOKEN_LOSS, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, "eval_nll_per_token", "eval_tokens"),
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[Trainer, TrainingInfo]:
    """Build the Trainer: model, packed rows in the order of the mixture, held-out loss."""
    from transformers import Trainer

    from hfllm.data.packing.mixture import mixture
    from hfllm.training.callbacks import SampleText
    from hfllm.training.datasets import packed_documents
    from hfllm.training.eval_loss import nll_metrics, row_sums
    from hfllm.training.fit import TrainingInfo, rows_per_step
    from hfllm.training.load import end_ids, load_tokenizer
    from hfllm.training.optimizers import optimizer_factory
    from hfllm.training.schedule import decay_arguments

    forced = decay_arguments(step.spec) | ({} if config.data.heldout else {"eval_strategy": "no"})
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints), **forced)
    if args.max_steps <= 0:
        key = f"{step.name}.trainer.max_steps"
        raise ValueError(f"{key}: must be set; the order of rows is computed for it")
    tokenizer = load_tokenizer(step, manifest.notes)
    model = _model(config, step, tokenizer)
    train, heldout = packed_documents(config.data, step, args, tokenizer, [model], manifest.notes)
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
        data_collator=train.collator(tokenizer.pad_token_id),
        optimizer_cls_and_kwargs=optimizer_factory(config.optimizer, model, args),
        preprocess_logits_for_metrics=row_sums,
        compute_metrics=nll_metrics(heldout.ledger.total("kept", "bytes") if heldout else None),
        callbacks=[SampleText(config.sample_prompts, tokenizer, step.folder / "samples.jsonl")],
    )
    extra = {"padding_share": round(train.padding_share, 4)}
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=False),
        row_tokens=train.row_tokens,
        seq_len=config.data.seq_len,
        passes=rows.epochs,
        extra=extra,
    )
    return trainer, info


def _model(config: Config, step: Step, tokenizer: Any) -> Any:
    from transformers import AutoModelForCausalLM

    from hfllm.modeling.build import build_model
    from hfllm.training.load import load_init

    if config.init:
        return load_init(step, AutoModelForCausalLM, tokenizer)
    return build_model(config.model, tokenizer, config.data.seq_len, step.seed)

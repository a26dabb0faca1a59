"""KTO: train a chat model on answers that are labelled good or bad, with trl's KTOTrainer.

Ethayarajh et al. 2024, arXiv:2402.01306. No pairs are needed; of pairs each answer is taken for
itself. The reference is the model that training starts from. Rows are rendered, masked and counted
by hfllm, which also chooses the mismatched answers of the KL estimate (training/kto_rows.py).
Held-out rows are written to data/heldout.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfllm.recipe.config import LabelledDataConfig, TrainConfig
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import LANGUAGE_MODEL, Chart, Figure, Rate, RowShape, Stage, model_ref
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import (
    CONSOLE_HEAD,
    CONSOLE_TAIL,
    ENTROPY,
    MILLIONS,
    TRAINER_CHARTS,
    TRL_DEFAULTS,
    with_eval,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process
from hfllm.stages import _preferences
from hfllm.training.preference_keys import KTO_ELSEWHERE, KTO_RANGES

if TYPE_CHECKING:
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.kto_trainer import ReadyKTOTrainer

CHARTS = (
    Chart(
        "Loss",
        with_eval("loss"),
        "weighted mean",
        "1 − σ(gain over the KL) of a good answer, 1 − σ(KL − gain) of a bad one: it begins at "
        "half the mean weight.",
        better="down",
    ),
    Chart(
        "Margin",
        with_eval("rewards/margins"),
        "score",
        "Mean implicit reward of good answers minus that of bad ones.",
        better="up",
    ),
    Chart(
        "Implicit rewards",
        {"rewards/chosen": "good answers", "rewards/rejected": "bad answers"},
        "score",
        "β × log(model / reference) of the whole answer.",
    ),
    Chart(
        "KL estimate",
        with_eval("kl"),
        "nats per answer",
        "Gain of answers to other prompts, 0 at least: how far the model has moved as a whole.",
    ),
    Chart(
        "Log-probabilities",
        {"logps/chosen": "good answers", "logps/rejected": "bad answers"},
        "nats per answer",
        "If that of good answers falls far, the model moves away from all: raise β, or stop.",
    ),
)


@dataclass
class Config(TrainConfig):
    """Kahneman-Tversky optimization on answers that are labelled good or bad."""

    init: str | None = model_ref("sft", required=True)
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)


def row(spec: StepSpec) -> RowShape:
    """A prompt and an answer."""
    return _preferences.row_shape(spec, answers=1)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no labelled answers; a template or adapter that is wrong."""
    from hfllm.training.row_problems import prompt_problems

    yield from prompt_problems(step, dict.fromkeys(("data.mixture", "data.heldout"), "labelled"))


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The margin between good and bad answers, held out if there are such."""
    for key, unit in (
        ("eval_rewards/margins", "margin, held out"),
        ("rewards/margins", "margin in training"),
    ):
        if (value := view.metric(key)) is not None:
            return short(value), unit
    return ()


def sentence(view: StepView) -> str:
    """How much more held-out good answers gained than bad ones."""
    margin = view.metric("eval_rewards/margins")
    if margin is None:
        return ""
    return f"In {view.name}, held-out good answers gained {short(margin)} more than bad ones."


STAGE = Stage(
    config=Config,
    trainer="hfllm.training.kto_config:CheckedKTOConfig",
    makes=LANGUAGE_MODEL,
    method="KTO (Ethayarajh et al. 2024, arXiv:2402.01306) on answers labelled good or bad, "
    "against the model it started from (trl KTOTrainer).",
    defaults=TRL_DEFAULTS
    | {
        "train_sampling_strategy": (
            "sequential",
            "answers are already grouped by length, so that batches have little padding",
        ),
        "max_length": (None, "long answers are dropped and counted, never truncated"),
        "precompute_ref_log_probs": (
            True,
            "a pass before training instead of one in every step, and no second model",
        ),
        "learning_rate": (1e-4, MILLIONS),
        "lr_scheduler_type": ("cosine", "decays to zero within the stage"),
        "warmup_steps": (10, "Adam's second moment needs a few steps"),
        "per_device_train_batch_size": (32, "the KL estimate is a mean over a step; library: 8"),
        "num_train_epochs": (1.0, "with more epochs the model memorizes answers"),
    },
    set_elsewhere=KTO_ELSEWHERE,
    ranges=KTO_RANGES,
    check=_preferences.check,
    first_rows=first_rows,
    row=row,
    rates=(Rate(5e8, 5e-6, 5e-5), Rate(3e9, 2e-6, 2e-5), Rate(1e13, 1e-6, 1e-5)),
    console=(
        *CONSOLE_HEAD,
        "rewards/margins",
        "eval_rewards/margins",
        "kl",
        *CONSOLE_TAIL,
    ),
    charts=(*CHARTS, ENTROPY, *TRAINER_CHARTS),
    uncharted=_preferences.UNCHARTED,
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[ReadyKTOTrainer, TrainingInfo]:
    """Build the trainer: model, reference if a second one is needed, answers with their labels."""
    from hfllm.data.ledger import Ledger
    from hfllm.data.reading.account import account
    from hfllm.data.reading.examples import read_labelled
    from hfllm.training import kto_rows
    from hfllm.training.answer_rows import in_order
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.kto_trainer import ReadyKTOTrainer
    from hfllm.training.labelled_rows import labelled_rows, taken_apart, tokens_of
    from hfllm.training.load import end_ids, load_tokenizer, peft_config
    from hfllm.training.pairs import heldout_rows, read_split
    from hfllm.training.reference_logps import policy_and_reference

    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    model, reference = policy_and_reference(step, args, tokenizer)
    ledger, seq_len = Ledger(), config.data.seq_len
    train, heldout = read_split(config.data, step, ledger, manifest, read_labelled)
    rows = labelled_rows(tokenizer, train, seq_len, ledger)
    tests, _ = heldout_rows(heldout, tokenizer, seq_len, step, manifest, labelled_rows)
    ledger.check()
    account(ledger, config.data.mixture)
    manifest.ledger = ledger.to_json()
    lines = [*taken_apart(train), kto_rows.weigh_labels(args, config.trainer, rows)]
    tokens = [tokens_of(row) for row in rows]
    ordered = in_order(rows, tokens, args, step.seed)
    placed, own = kto_rows.place(ordered, args, seq_len)
    lines += [own] if own else []
    manifest.notes += lines
    if is_main_process():
        print("".join(f"{step.name}: {line}\n" for line in lines), end="", flush=True)
    trainer = ReadyKTOTrainer(
        folder=step.checkpoints,
        model=model,
        ref_model=reference,
        args=args,
        train=placed,
        tests=kto_rows.place_tests(tests, args, seq_len) if tests else None,
        processing_class=tokenizer,
        peft_config=peft_config(step, "CAUSAL_LM", model, tokenizer),
    )
    manifest.notes += trainer.notes or []
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=True),
        row_tokens=sum(tokens) / len(rows),
        seq_len=round(sum(tokens) / len(rows)),
        passes={"the answers": ordered.epochs},
        extra={
            "answers_train": len(rows),
            "answers_heldout": len(tests),
            "epochs": ordered.epochs,
        },
    )
    return trainer, info

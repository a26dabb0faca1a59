"""DPO: train a chat model on preference pairs with trl's DPOTrainer, without a reward model.

Rafailov et al. 2023, arXiv:2305.18290. The reference is the model that training starts from. Pairs
are rendered, masked and counted by hfllm (training/preference.py, answer_rows.py); an answer's
log-probability is that of its text and its end of turn. Held-out pairs are written to
data/heldout.jsonl, so that a later evaluation can use exactly these ({step: dpo, file:
heldout.jsonl}).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hfllm.recipe.config import PairDataConfig, TrainConfig
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import LANGUAGE_MODEL, Chart, Figure, Rate, RowShape, Stage, model_ref
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import (
    CONSOLE_HEAD,
    CONSOLE_TAIL,
    ENTROPY,
    MILLIONS,
    TOKEN_ACCURACY,
    TRAINER_CHARTS,
    TRL_DEFAULTS,
    with_eval,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import percent, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.stages import _preferences
from hfllm.training.preference_keys import DPO_ELSEWHERE, DPO_RANGES

if TYPE_CHECKING:
    from hfllm.training.dpo_trainer import ReadyDPOTrainer
    from hfllm.training.fit import TrainingInfo

CHARTS = (
    Chart(
        "Loss",
        with_eval("loss"),
        "nats per pair",
        "Of the loss_type; of DPO −log σ(margin), which begins at 0.69.",
        better="down",
    ),
    Chart(
        "Pairs preferred",
        with_eval("rewards/accuracies"),
        "share of pairs",
        "How often training raised the probability of the better answer more.",
        better="up",
    ),
    Chart(
        "Margin",
        with_eval("rewards/margins"),
        "score",
        "Implicit reward of the better answer minus that of the worse.",
        better="up",
    ),
    Chart(
        "Implicit rewards",
        {"rewards/chosen": "better answer", "rewards/rejected": "worse answer"},
        "score",
        "β × log(model / reference) of the whole answer; both often fall, the worse one faster.",
    ),
    Chart(
        "Log-probabilities",
        {"logps/chosen": "better answer", "logps/rejected": "worse answer"},
        "nats per answer",
        "If that of the better answer falls far, the model moves away from both: raise β, or stop.",
    ),
)


@dataclass
class Config(TrainConfig):
    """Direct preference optimization on pairs."""

    init: str | None = model_ref("sft", required=True)
    data: PairDataConfig = field(default_factory=PairDataConfig)


def row(spec: StepSpec) -> RowShape:
    """A pair: prompt and answer twice."""
    return _preferences.row_shape(spec, answers=2)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no pairs; a template or adapter that is wrong."""
    from hfllm.training.row_problems import prompt_problems

    yield from prompt_problems(step, {"data.mixture": "pairs", "data.heldout": "pairs"})


def key_figure(view: StepView) -> Figure | tuple[()]:
    """Held-out pairs preferred, else those of training."""
    for key, unit in (
        ("eval_rewards/accuracies", "of pairs preferred"),
        ("rewards/accuracies", "preferred in training"),
    ):
        if (value := view.metric(key)) is not None:
            return percent(value), unit
    return ()


def sentence(view: StepView) -> str:
    """How many held-out pairs it learned to prefer, and by what margin."""
    share, margin = view.metric("eval_rewards/accuracies"), view.metric("eval_rewards/margins")
    if share is None or margin is None:
        return ""
    return (
        f"In {view.name}, the better answer gained more than the worse in {percent(share)} of "
        f"held-out pairs (mean margin {short(margin)})."
    )


STAGE = Stage(
    config=Config,
    trainer="hfllm.training.dpo_config:CheckedDPOConfig",
    makes=LANGUAGE_MODEL,
    method="Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290) on preference "
    "pairs, against the model it started from (trl DPOTrainer).",
    defaults=TRL_DEFAULTS
    | {
        "train_sampling_strategy": (
            "sequential",
            "pairs are already grouped by length, so that batches have little padding",
        ),
        "max_length": (None, "long pairs are dropped and counted, never truncated"),
        "precompute_ref_log_probs": (
            True,
            "one pass before training instead of one in every step, and no second model",
        ),
        "learning_rate": (1e-4, MILLIONS),
        "lr_scheduler_type": ("cosine", "decays to zero within the stage"),
        "warmup_steps": (10, "Adam's second moment needs a few steps"),
        "per_device_train_batch_size": (16, "library default 8"),
        "num_train_epochs": (1.0, "with more epochs the model memorizes pairs"),
    },
    set_elsewhere=DPO_ELSEWHERE,
    ranges=DPO_RANGES,
    check=_preferences.check,
    first_rows=first_rows,
    row=row,
    rates=(Rate(5e8, 2e-6, 2e-5), Rate(3e9, 1e-6, 1e-5), Rate(1e13, 5e-7, 5e-6)),
    console=(
        *CONSOLE_HEAD,
        "rewards/accuracies",
        "eval_rewards/accuracies",
        "rewards/margins",
        *CONSOLE_TAIL,
    ),
    charts=(*CHARTS, ENTROPY, TOKEN_ACCURACY, *TRAINER_CHARTS),
    uncharted=_preferences.UNCHARTED,
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[ReadyDPOTrainer, TrainingInfo]:
    """Build the trainer: model, reference if a second one is needed, pairs grouped by length."""
    from datasets import Dataset

    from hfllm.data.ledger import Ledger
    from hfllm.data.reading.account import account
    from hfllm.training import preference
    from hfllm.training.answer_rows import in_order, pair_of_answers
    from hfllm.training.dpo_trainer import ReadyDPOTrainer
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.load import end_ids, load_tokenizer, peft_config
    from hfllm.training.pairs import heldout_rows, read_split
    from hfllm.training.reference_logps import policy_and_reference

    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    model, reference = policy_and_reference(step, args, tokenizer)
    ledger, seq_len = Ledger(), config.data.seq_len
    train, heldout = read_split(config.data, step, ledger, manifest)
    rows_of = partial(preference.pair_rows, row_of=pair_of_answers)
    rows = rows_of(tokenizer, train, seq_len, ledger)
    tests, _ = heldout_rows(heldout, tokenizer, seq_len, step, manifest, rows_of)
    ledger.check()
    account(ledger, config.data.mixture)
    manifest.ledger = ledger.to_json()
    train_rows = in_order(rows, [preference.longer_side(row) for row in rows], args, step.seed)
    trainer = ReadyDPOTrainer(
        order=train_rows.order,
        folder=step.checkpoints,
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=Dataset.from_list(train_rows.rows),
        eval_dataset=Dataset.from_list(preference.eval_order(tests, args)) if tests else None,
        processing_class=tokenizer,
        peft_config=peft_config(step, "CAUSAL_LM", model, tokenizer),
    )
    manifest.notes += trainer.notes or []
    tokens = sum(sum(preference.side_tokens(row)) for row in rows)
    extra: dict[str, Any] = {"pairs_train": len(rows), "pairs_heldout": len(tests)}
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=True),
        row_tokens=tokens / len(rows),
        seq_len=round(tokens / len(rows) / 2),
        passes={"the pairs": train_rows.epochs},
        extra=extra | {"epochs": train_rows.epochs},
    )
    return trainer, info

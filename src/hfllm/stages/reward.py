"""Reward: train a reward model with trl's RewardTrainer on preference pairs (Bradley-Terry).

Pairs are rendered and tokenized by training/preference.py, which counts those that do not fit; trl
would drop them silently. The held-out accuracy is reported beside a baseline that only looks at the
length of the answers, to show a reward model that only learned "longer is better". The held-out
pairs are written to data/heldout.jsonl, so that a later evaluation can use exactly these pairs
({step: reward, file: heldout.jsonl}).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfllm.recipe.checks import check_pair_data
from hfllm.recipe.config import PairDataConfig, TrainConfig
from hfllm.recipe.ranges import NOT_NEGATIVE
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import (
    MODELS,
    REWARD_MODEL,
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
    TRAINER_CHARTS,
    TRAINER_UNCHARTED,
    TRL_DEFAULTS,
    TRL_ELSEWHERE,
    TRL_RANGES,
    with_eval,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import percent
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

if TYPE_CHECKING:
    from trl import RewardTrainer

    from hfllm.training.fit import TrainingInfo

CHARTS = (
    Chart(
        "Accuracy on pairs",
        with_eval("accuracy"),
        "share of pairs",
        "How often the better answer gets the higher score; guessing gives 0.5.",
        better="up",
    ),
    Chart(
        "Loss",
        with_eval("loss"),
        "nats per pair",
        "−log σ(score of the better answer − score of the worse); guessing gives 0.69.",
        better="down",
    ),
    Chart(
        "Margin",
        with_eval("margin"),
        "score",
        "Score of the better answer minus that of the worse.",
        better="up",
    ),
    Chart(
        "Scores",
        {"max_reward": "highest", "mean_reward": "mean", "min_reward": "lowest"},
        "score",
        "Range of the scores in a batch.",
    ),
)


@dataclass
class Config(TrainConfig):
    """A reward model from preference pairs (Bradley-Terry)."""

    init: str | None = model_ref("sft", makes=MODELS, required=True)
    optimizer: str | None = None  # as in pretrain
    data: PairDataConfig = field(default_factory=PairDataConfig)


def check(spec: StepSpec) -> Iterator[str]:
    """Check the keys of `data`."""
    yield from check_pair_data(spec)


def row(spec: StepSpec) -> RowShape:
    """A pair: both sides pass through the model, and get a score instead of logits."""
    return RowShape(tokens=2 * spec.config.data.seq_len)


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no pairs; a template or adapter that is wrong."""
    from hfllm.training.row_problems import prompt_problems

    yield from prompt_problems(step, {"data.mixture": "pairs", "data.heldout": "pairs"})


def key_figure(view: StepView) -> Figure | tuple[()]:
    """Accuracy on held-out pairs, else in training."""
    for key, unit in (("eval_accuracy", "of pairs right"), ("accuracy", "right in training")):
        if (value := view.metric(key)) is not None:
            return percent(value), unit
    return ()


def sentence(view: StepView) -> str:
    """The accuracy on held-out pairs, and that of length alone."""
    accuracy = view.metric("eval_accuracy")
    if accuracy is None:
        return ""
    length = view.metric("length_baseline_accuracy")
    tail = f"; length alone finds it in {percent(length)}" if length is not None else ""
    share = f"{percent(accuracy)} of held-out pairs"
    return f"A reward model ({view.name}) finds the better of two answers in {share}{tail}."


STAGE = Stage(
    config=Config,
    trainer="trl:RewardConfig",
    makes=REWARD_MODEL,
    method="A reward model on preference pairs (Bradley and Terry 1952; trl RewardTrainer).",
    defaults=TRL_DEFAULTS
    | {
        "train_sampling_strategy": (
            "sequential",
            "pairs are already grouped by length, so that batches have little padding",
        ),
        "max_length": (None, "long pairs are dropped and counted, never truncated"),
        "center_rewards_coefficient": (
            0.01,
            "the pair loss leaves a common offset undetermined",
        ),
        "learning_rate": (3e-4, MILLIONS),
        "per_device_train_batch_size": (16, "library default 8"),
        "num_train_epochs": (1.0, "with more epochs the model memorizes pairs"),
    },
    set_elsewhere=TRL_ELSEWHERE | {"max_length": "set the step's data.seq_len"},
    ranges={"center_rewards_coefficient": NOT_NEGATIVE} | TRL_RANGES,
    check=check,
    first_rows=first_rows,
    row=row,
    rates=(Rate(5e8, 5e-5, 2e-4), Rate(3e9, 2e-5, 1e-4), Rate(1e13, 1e-5, 1e-4)),
    console=(*CONSOLE_HEAD, "accuracy", "eval_accuracy", *CONSOLE_TAIL),
    charts=(*CHARTS, *TRAINER_CHARTS),
    uncharted=(
        *TRAINER_UNCHARTED,
        "eval_max_reward",
        "eval_mean_reward",
        "eval_min_reward",
    ),
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[RewardTrainer, TrainingInfo]:
    """Build the RewardTrainer: model with a score head, pairs grouped by length, held-out pairs."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardTrainer

    from hfllm.data.ledger import Ledger
    from hfllm.data.reading.account import account
    from hfllm.training import preference
    from hfllm.training.answer_rows import in_order
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.load import end_ids, load_init, load_tokenizer, peft_config
    from hfllm.training.optimizers import optimizer_factory
    from hfllm.training.pairs import heldout_rows, read_split

    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    # `init` is a causal LM, so the score head is newly initialized; only this stage allows it
    model = load_init(step, AutoModelForSequenceClassification, tokenizer, num_labels=1)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    ledger = Ledger()
    train, heldout = read_split(config.data, step, ledger, manifest)
    rows = preference.pair_rows(tokenizer, train, config.data.seq_len, ledger)
    tests, kept = heldout_rows(heldout, tokenizer, config.data.seq_len, step, manifest)
    ledger.check()
    account(ledger, config.data.mixture)
    manifest.ledger = ledger.to_json()
    extra: dict[str, Any] = {"pairs_train": len(rows), "pairs_heldout": len(tests)}
    if kept:
        extra["length_baseline_accuracy"] = round(preference.length_baseline(kept), 4)
    ordered = in_order(rows, [preference.longer_side(row) for row in rows], args, step.seed)
    extra["epochs"] = ordered.epochs
    trainer = RewardTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(ordered.rows).select(ordered.order),
        eval_dataset=Dataset.from_list(preference.eval_order(tests, args)) if tests else None,
        processing_class=tokenizer,
        optimizer_cls_and_kwargs=optimizer_factory(config.optimizer, model, args),
        peft_config=peft_config(step, "SEQ_CLS", model, tokenizer),
    )
    tokens = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=end_ids(tokenizer, chat=True),
        row_tokens=tokens / len(rows),
        seq_len=round(tokens / len(rows) / 2),
        passes={"the pairs": extra["epochs"]},
        extra=extra,
    )
    return trainer, info

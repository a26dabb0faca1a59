"""Reward: trl's RewardTrainer from a chat model, on preference pairs (Bradley-Terry).

Pairs come rendered from training/preference.py, those that do not fit counted; trl would drop them
without a word. The held-out accuracy stands beside the length-alone baseline: a reward model that
only learned "longer is better" must not look like one. The held-out pairs are written to
data/heldout.jsonl, so that an evaluation can be given exactly them ({step: reward, file:
heldout.jsonl}).
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardTrainer

from hfllm.data.ledger import Ledger
from hfllm.recipe.schema import RewardStageConfig
from hfllm.recipe.trainers import build_trainer_config
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process
from hfllm.runs.record import recording
from hfllm.training.fit import TrainingInfo, fit, rows_per_step, total_rows
from hfllm.training.load import end_ids, load_init, load_tokenizer, peft_config
from hfllm.training.optimizers import optimizer_factory
from hfllm.training.pairs import heldout_rows, read_split
from hfllm.training.preference import length_baseline, length_grouped, pair_rows


def run(config: RewardStageConfig, step: Step) -> None:
    """Build the trainer and fit it, recorded."""
    with recording(step, is_main_process()) as manifest:
        trainer, info = build(config, step, manifest)
        fit(trainer, step, manifest, info)


def build(
    config: RewardStageConfig, step: Step, manifest: Manifest
) -> tuple[RewardTrainer, TrainingInfo]:
    """The trainer, and what `fit` needs to know about it."""
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    # `init` is a causal LM, so the score head is new: expected here, and only here
    model = load_init(step, AutoModelForSequenceClassification, tokenizer, num_labels=1)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    ledger = Ledger()
    train, heldout = read_split(config.data, step, ledger, manifest)
    rows = pair_rows(tokenizer, train, config.data.seq_len, ledger)
    tests, kept = heldout_rows(heldout, tokenizer, config.data.seq_len, step, manifest)
    ledger.check()
    manifest.ledger = ledger.to_json()
    extra: dict[str, Any] = {"pairs_train": len(rows), "pairs_heldout": len(tests)}
    if kept:
        extra["length_baseline_accuracy"] = round(length_baseline(kept), 4)
    per_step = rows_per_step(args)
    order = length_grouped(
        [_longest(row) for row in rows], per_step, total_rows(args, len(rows)), step.seed
    )
    extra["epochs"] = round(len(order) / len(rows), 3)
    args.max_steps, args.num_train_epochs = len(order) // per_step, 1.0
    trainer = RewardTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows).select(order),
        eval_dataset=Dataset.from_list(_tested(tests, args)) if tests else None,
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
        extra=extra,
    )
    return trainer, info


def _tested(rows: list[dict[str, list[int]]], args: Any) -> list[dict[str, list[int]]]:
    """Held-out rows by length; the last batch, short of a whole one, has rows as they come.

    trl's accuracy is the mean of the batches' accuracies: a short one of the longest pairs would
    weigh them more than the others.
    """
    rest = len(rows) % (args.eval_batch_size * args.world_size)
    return sorted(rows[rest:], key=_longest) + rows[:rest]


def _longest(row: dict[str, list[int]]) -> int:
    """Tokens of a pair's longer side: a batch is padded to the longest row in it."""
    return max(map(len, row.values()))

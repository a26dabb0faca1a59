"""What each kind of task (recipe.schema.TASK_KINDS) does with a model, or with the reward model.

- bits_per_byte: documents {"text", "source"}; in total and per source.
- choices: {"query", "choices", "gold"}, {"context_options", "continuation", "gold"} or BLiMP pairs
  {"sentence_good", "sentence_bad"}; by likelihood, plain (`acc`) and, but for these pairs, per
  character (`acc_norm`); in total and per `field`, where the rows have one.
- preference: {"prompt", "chosen", "rejected"}; how often a reward model agrees, beside the rule
  that looks at nothing but the length; in total and per source.
- answers, replies: see answers.py and replies.py; run.py calls them, because rewards and KL come
  after all answers.

The source of a row is its `origin` where it has one: what it was called before it was written to a
file of several sources.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from hfllm.data.preference import characters_more, longer_wins
from hfllm.evaluation.intervals import Interval, ratio, share, wilson
from hfllm.evaluation.loglik import (
    continuation,
    document_nats,
    split_continuation,
    token_logprobs,
)
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.subject import Subject
from hfllm.inference.prompts import positions
from hfllm.inference.reward_model import RewardModel


def bits_per_byte(subject: Subject, name: str, spec: TaskSpec) -> list[Result]:
    """Bits per byte of held-out documents, all together and per source."""
    rows = [row for row in spec.taken() if row["text"]]
    label = f"{subject.spec.name}: {name}"
    nats = document_nats(subject.model, subject.tokenizer, [r["text"] for r in rows], label=label)
    sizes = [len(row["text"].encode()) for row in rows]
    return [
        result(
            subject.spec.name,
            part,
            "bits_per_byte",
            bits([nats[i] for i in at], [sizes[i] for i in at]),
        )
        for part, at in parts_of(name, [source_of(row) for row in rows]).items()
    ]


def source_of(row: dict[str, Any]) -> str:
    """What a row is called in results per source."""
    return str(row.get("origin") or row.get("source") or "")


def parts_of(name: str, labels: list[str]) -> dict[str, list[int]]:
    """Row numbers of the task as a whole and, where its rows differ in label, of `name/label`."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        groups[f"{name}/{label}"].append(i)
    return {name: list(range(len(labels)))} | (groups if len(groups) > 1 else {})


def bits(nats: list[float], sizes: list[int]) -> Any:
    """Bits per byte of documents with its interval, the value by metrics/bits_per_byte."""
    value = load_metric("bits_per_byte").compute(predictions=nats, references=sizes)
    spread = ratio([n / math.log(2) for n in nats], sizes)
    return spread._replace(value=value["bits_per_byte"])


def choices(subject: Subject, name: str, spec: TaskSpec) -> list[Result]:
    """Accuracy of picking the most likely choice, in sum and per character (lm-eval's acc_norm)."""
    rows = spec.taken()
    options = [as_options(row) for row in rows]
    scored = []
    for texts, _ in options:
        for context, text in texts:
            pair = split_continuation(subject.tokenizer, context, text)
            scored.append(continuation(*pair, positions(subject.model)))
    sums = iter(token_logprobs(subject.model, scored, f"{subject.spec.name}: {name}"))
    plain, normed = [], []
    for texts, gold in options:
        totals = [float(next(sums).double().sum()) for _ in texts]
        rates = [
            total / max(1, len(text.strip()))
            for total, (_, text) in zip(totals, texts, strict=True)
        ]
        plain.append(totals.index(max(totals)) == gold)
        normed.append(rates.index(max(rates)) == gold)
    fields = [str(row.get("field", "")).replace("/", "_") for row in rows]
    return [
        result(subject.spec.name, part, metric, share([flags[i] for i in at]))
        for part, at in parts_of(name, fields).items()
        for metric, flags in (("acc", plain), ("acc_norm", normed))
        if metric == "acc" or not all("sentence_good" in rows[i] for i in at)
    ]


def as_options(row: dict[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """A row's (context, continuation) pairs and which one is right.

    Raises:
        ValueError: the row has none of the three forms.
    """
    if "sentence_good" in row:
        return [("", row["sentence_good"]), ("", row["sentence_bad"])], 0
    if "context_options" in row:
        return [(c, " " + row["continuation"]) for c in row["context_options"]], int(row["gold"])
    if "query" in row and "choices" in row:
        query = row["query"]
        bare = query.startswith("Question:") and not query.rstrip().endswith("Answer:")
        between = "\nAnswer: " if bare else " "
        return [(query + between.rstrip(" "), " " + c) for c in row["choices"]], int(row["gold"])
    raise ValueError(
        f"a `choices` row has query + choices + gold, context_options + continuation + gold, or "
        f"sentence_good + sentence_bad; this one has {', '.join(row)}"
    )


def preference(judge: RewardModel, name: str, spec: TaskSpec) -> list[Result]:
    """How often the reward model prefers the chosen answer, and how far length alone gets."""
    rows = spec.taken()
    scores = judge.score(
        [([*row["prompt"], *row[side]], True) for side in ("chosen", "rejected") for row in rows],
        f"{judge.name}: {name}",
    )
    chosen, rejected = scores[: len(rows)], scores[len(rows) :]
    longer = [characters_more(row) for row in rows]
    marks = list(zip(chosen, rejected, longer, strict=True))
    return [
        result(judge.name, part, metric, interval)
        for part, at in parts_of(name, [source_of(row) for row in rows]).items()
        for metric, interval in agreement([marks[i] for i in at])
    ]


def agreement(marks: list[tuple[float, float, int]]) -> list[tuple[str, Interval]]:
    """Of (score of the chosen, of the rejected, characters more in the chosen): what agrees."""
    n = len(marks)
    chosen, rejected, gaps = zip(*marks, strict=True)
    metric = load_metric("pair_accuracy")
    accuracy = metric.compute(predictions=chosen, references=rejected)["accuracy"]
    longer = longer_wins(gaps)
    picks_longer = [(c > r) == (more > 0) for c, r, more in marks if more]
    out = [
        ("accuracy", wilson(accuracy * n, n)),
        # the better of "longer wins" and "shorter wins"
        ("length_accuracy", wilson(max(longer, 1 - longer) * n, n)),
        ("chosen_longer", wilson(longer * n, n)),
    ]
    return out + ([("picks_longer", share(picks_longer))] if picks_longer else [])

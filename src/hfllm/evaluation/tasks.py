"""What a task kind does with a model: `KINDS[kind](subject, name, spec) -> results`.

- bits_per_byte: documents {"text", "source"}; in total and per source.
- choices: {"query", "choices", "gold"}, {"context_options", "continuation", "gold"} or BLiMP pairs
  {"sentence_good", "sentence_bad"}; by likelihood, plain (`acc`) and per character (`acc_norm`).
- preference: {"prompt", "chosen", "rejected"}; how often a reward model agrees, beside the rule
  that looks at nothing but the length.
- answers: see answers.py; run.py calls it, because rewards and KL come after all answers.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hfllm.evaluation.intervals import ratio, share, wilson
from hfllm.evaluation.judge import Judge
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

KINDS = ("bits_per_byte", "answers", "preference", "choices")


def bits_per_byte(subject: Subject, name: str, spec: TaskSpec) -> list[Result]:
    """Bits per byte of held-out documents, all together and per source."""
    rows = [row for row in spec.taken() if row["text"]]
    label = f"{subject.spec.name}: {name}"
    nats = document_nats(subject.model, subject.tokenizer, [r["text"] for r in rows], label=label)
    sizes = [len(row["text"].encode()) for row in rows]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[str(row.get("source", ""))].append(i)
    parts = {name: list(range(len(rows)))}
    if len(groups) > 1:
        parts |= {f"{name}/{source}": numbers for source, numbers in groups.items()}
    return [
        result(
            subject.spec.name,
            part,
            "bits_per_byte",
            bits([nats[i] for i in at], [sizes[i] for i in at]),
        )
        for part, at in parts.items()
    ]


def bits(nats: list[float], sizes: list[int]) -> Any:
    """Bits per byte of documents with its interval, the value by metrics/bits_per_byte."""
    metric = load_metric("bits_per_byte")
    value = metric.compute(predictions=nats, references=sizes)["bits_per_byte"]
    per_nat = value / (sum(nats) / sum(sizes))  # 1 / ln 2
    return ratio([n * per_nat for n in nats], sizes)


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
    return [
        result(subject.spec.name, name, "acc", share(plain)),
        result(subject.spec.name, name, "acc_norm", share(normed)),
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


def preference(judge: Judge, name: str, spec: TaskSpec) -> list[Result]:
    """How often the reward model prefers the chosen answer, and how far length alone gets."""
    rows = spec.taken()
    scores = judge.score(
        [([*row["prompt"], *row[side]], True) for side in ("chosen", "rejected") for row in rows],
        f"{judge.spec.name}: {name}",
    )
    chosen, rejected = scores[: len(rows)], scores[len(rows) :]
    longer = [len(r["chosen"][-1]["content"]) - len(r["rejected"][-1]["content"]) for r in rows]
    metric = load_metric("pair_accuracy")
    accuracy = metric.compute(predictions=chosen, references=rejected)["accuracy"]
    by_length = metric.compute(predictions=longer, references=[0] * len(rows))["accuracy"]
    picks_longer = [
        (c > r) == (more > 0) for c, r, more in zip(chosen, rejected, longer, strict=True) if more
    ]
    n = len(rows)
    out = [
        ("accuracy", wilson(accuracy * n, n)),
        # the better of "longer wins" and "shorter wins"
        ("length_accuracy", wilson(max(by_length, 1 - by_length) * n, n)),
        ("chosen_longer", wilson(by_length * n, n)),
    ]
    if picks_longer:
        out.append(("picks_longer", share(picks_longer)))
    return [result(judge.spec.name, name, metric_name, interval) for metric_name, interval in out]

"""What each kind of task (config.TASK_KINDS) does with a model, or with the reward model.

- bits_per_byte: documents {"text", "source"}; in total and per source.
- choices: see choices.py.
- continuation: {"context", "continuation"}, such as LAMBADA: greedy match and perplexity.
- preference: {"prompt", "chosen", "rejected"}; how often a reward model agrees, beside the rule
  that looks at nothing but the length; in total and per source.
- answers, replies: see answers.py and replies.py; run.py calls them, because rewards and KL come
  after all answers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hfllm.evaluation.intervals import Interval, bootstrap, ratio, share, wilson
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.subsets import source_of, subsets_of
from hfllm.inference.loglik import (
    continuation,
    document_nats,
    split_continuation,
    token_scores,
)
from hfllm.inference.prompts import positions
from hfllm.inference.reward_model import RewardModel
from hfllm.training.preference import characters_more, longer_wins

MAX_LOG = 700.0  # e to this is near the largest float


def bits_per_byte(tested: ModelUnderTest, name: str, spec: TaskSpec) -> list[Result]:
    """Bits per byte of held-out documents, all together and per source."""
    rows = [row for row in spec.taken() if row["text"]]
    label = f"{tested.spec.name}: {name}"
    nats = document_nats(tested.model, tested.tokenizer, [r["text"] for r in rows], label=label)
    sizes = [len(row["text"].encode()) for row in rows]
    return [
        result(
            tested.spec.name,
            part,
            "bits_per_byte",
            bits([nats[i] for i in at], [sizes[i] for i in at]),
        )
        for part, at in subsets_of(name, [source_of(row) for row in rows]).items()
    ]


def bits(nats: list[float], sizes: list[int]) -> Any:
    """Bits per byte of documents with its interval, the value by metrics/bits_per_byte."""
    value = load_metric("bits_per_byte").compute(predictions=nats, references=sizes)
    spread = ratio([n / math.log(2) for n in nats], sizes)
    return spread._replace(value=value["bits_per_byte"])


def continuations(
    tested: ModelUnderTest, name: str, spec: TaskSpec
) -> tuple[list[Result], list[dict[str, Any]]]:
    """Whether greedy decoding says the continuation word for word, and its perplexity.

    lm-eval's `acc` and `perplexity` of LAMBADA: exp(-mean log-likelihood), the mean over rows, so
    per continuation and not per token. The second value is one record per row.

    Raises:
        ValueError: a row lacks `context` or `continuation`.
    """
    rows = spec.taken()
    scored = []
    for row in rows:
        context, text = parts_of_continuation(row, name)
        pair = split_continuation(tested.tokenizer, context, text)
        scored.append(continuation(*pair, positions(tested.model)))
    found = token_scores(tested.model, scored, f"{tested.spec.name}: {name}")
    items = [
        {
            "id": str(row.get("id", i)),
            "logprob": scores.total(),
            "greedy": bool(scores.greedy.all()),
        }
        for i, (row, scores) in enumerate(zip(rows, found, strict=True))
    ]
    logprobs = np.array([[item["logprob"]] for item in items])
    perplexity = bootstrap(logprobs, lambda means: np.exp(np.minimum(-means[..., 0], MAX_LOG)))
    return [
        result(tested.spec.name, name, "acc", share([bool(item["greedy"]) for item in items])),
        result(tested.spec.name, name, "perplexity", perplexity),
    ], items


def parts_of_continuation(row: dict[str, Any], name: str) -> tuple[str, str]:
    """The row's context and continuation, a space between them where neither has one."""
    context, text = row.get("context"), row.get("continuation")
    if not context or not text:
        raise ValueError(
            f"row {row.get('id', '?')} of {name}: a `continuation` row has context and "
            f"continuation; this one has {', '.join(k for k, v in row.items() if v)}"
        )
    return context, text if context[-1].isspace() or text[0].isspace() else f" {text}"


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
        for part, at in subsets_of(name, [source_of(row) for row in rows]).items()
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

"""The "bits_per_byte" task: bits per byte of documents {"text"}, in total and per `source`."""

from __future__ import annotations

import math
from typing import Any

from hfllm.evaluation.intervals import Interval, ratio
from hfllm.evaluation.measure import BITS_PER_BYTE
from hfllm.evaluation.metrics import load_metric
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import Result, TaskSpec, result
from hfllm.evaluation.subsets import source_of, subsets_of
from hfllm.inference.loglik import document_nats


def score(
    tested: ModelUnderTest, name: str, spec: TaskSpec
) -> tuple[list[Result], list[dict[str, Any]]]:
    """Bits per byte of held-out documents, in total and per source; no items.

    Args:
        tested: the model.
        name: name of the task.
        spec: documents with `text`; empty ones are left out.
    """
    rows = [row for row in spec.taken() if row["text"]]
    label = f"{tested.spec.name}: {name}"
    nats = document_nats(tested.model, tested.tokenizer, [r["text"] for r in rows], label=label)
    sizes = [len(row["text"].encode()) for row in rows]
    return [
        result(
            tested.spec.name,
            subset,
            BITS_PER_BYTE,
            bits([nats[i] for i in at], [sizes[i] for i in at]),
        )
        for subset, at in subsets_of(name, [source_of(row) for row in rows]).items()
    ], []


def bits(nats: list[float], sizes: list[int]) -> Interval:
    """Bits per byte of documents (metrics/bits_per_byte) with its bootstrap interval.

    `nats`: negative log-likelihood of each document. `sizes`: its UTF-8 bytes.
    """
    value = load_metric("bits_per_byte").compute(predictions=nats, references=sizes)
    interval = ratio([n / math.log(2) for n in nats], sizes)
    return interval._replace(value=value["bits_per_byte"])

"""The "bits_per_byte" task: documents {"text", "source"}; in total and per source."""

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
    """Bits per byte of held-out documents, all together and per source; no records of rows."""
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
    """Bits per byte of documents with its interval, the value by metrics/bits_per_byte."""
    value = load_metric("bits_per_byte").compute(predictions=nats, references=sizes)
    spread = ratio([n / math.log(2) for n in nats], sizes)
    return spread._replace(value=value["bits_per_byte"])

"""The `bits_per_byte` task: documents in total and per source."""

import copy
import math

import pytest
import torch
from evaluation_rows import by_metric

from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import bits_per_byte
from hfllm.tokenization.encode import encode_text


def test_bits_per_byte_in_total_and_per_source(tested):
    uniform = copy.deepcopy(tested.model)
    with torch.no_grad():
        uniform.lm_head.weight.zero_()
    tested.model = uniform
    rows = [
        {"id": "0", "source": "prose", "text": "Number 4 is a baker."},
        {"id": "1", "source": "prose", "text": ""},
        {"id": "2", "source": "lists", "text": "Caf\u00e9 1 2 3 4 5 6 7 8 9"},
    ]
    found = by_metric(bits_per_byte.score(tested, "heldout", TaskSpec("bits_per_byte", rows))[0])
    assert set(found) == {
        (t, "bits_per_byte") for t in ("heldout", "heldout/prose", "heldout/lists")
    }
    for task, chosen in (
        ("heldout", rows),
        ("heldout/prose", rows[:1]),
        ("heldout/lists", rows[2:]),
    ):
        tokens = sum(len(encode_text(tested.tokenizer, row["text"])) for row in chosen)
        size = sum(len(row["text"].encode()) for row in chosen)
        row = found[task, "bits_per_byte"]
        assert row["value"] == pytest.approx(math.log2(320) * tokens / size, rel=1e-5)
        assert row["low"] <= row["value"] * (1 + 1e-9) and row["value"] <= row["high"] * (1 + 1e-9)
    assert found["heldout", "bits_per_byte"]["n"] == 2, "an empty text is no document"

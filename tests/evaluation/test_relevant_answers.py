"""Relevance of replies is measured with a judge, and not without one."""

import json

from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.specs import ModelSpec, ScorerSpecs, TaskSpec
from hfllm.evaluation.tasks.instructions import summarize

LIMIT = [{"kind": "no_comma", "text": "No comma."}]
ASKED = [{"role": "user", "content": "Who is number 7? No comma."}]


def test_instructions_are_told_with_and_without_it(folders, tmp_path):
    rows = [{"id": str(i), "prompt": ASKED, "constraints": LIMIT} for i in range(3)]
    task = {"instructions": TaskSpec("instructions", rows, None, 8)}
    specs = [ModelSpec("sft", folders["sft"], True)]

    def measured(**judge):
        results = evaluate_models(specs, task, tmp_path, ScorerSpecs(**judge))
        return {r["metric"]: r for r in results if r["task"] == "instructions"}

    assert not {"relevant", "accuracy_relevant"} & set(measured())
    found = measured(relevance=ModelSpec("base", folders["sft"], True))
    assert found["relevant"]["n"] == found["accuracy_relevant"]["n"] == 3
    assert found["relevant"]["value"] == found["accuracy_relevant"]["value"] == 0.0  # a tiny model
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").open()]
    assert all(isinstance(sample["relevance"], float) for sample in samples)


def test_what_keeps_and_what_answers_are_counted_together():
    def sample(nats, kept):
        row = {"constraints": LIMIT}
        return Sample(
            "t", "0", "q", None, "m", "a" if kept else "a, b", kept, False, True, 1, None, True,
            relevance=nats, row=row,
        )  # fmt: skip

    samples = [sample(30.0, True), sample(30.0, False), sample(0.0, True), sample(30.0, True)]
    found = {r["metric"]: r["value"] for r in summarize(samples)}
    assert found["relevant"] == 0.75 and found["accuracy_relevant"] == 0.5

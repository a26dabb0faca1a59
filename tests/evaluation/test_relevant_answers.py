"""With a judge, an evaluation says which replies are answers; without one, nothing of it."""

import json

from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import JudgeSpecs, ModelSpec, TaskSpec

LIMIT = [{"kind": "no_comma", "text": "No comma."}]
ASKED = [{"role": "user", "content": "Who is number 7? No comma."}]


def test_instructions_are_told_with_and_without_it(folders, tmp_path):
    rows = [{"id": str(i), "prompt": ASKED, "constraints": LIMIT} for i in range(3)]
    task = {"instructions": TaskSpec("instructions", rows, None, 8)}
    specs = [ModelSpec("sft", folders["sft"], True)]

    def measured(**judge):
        results = evaluate_models(specs, task, tmp_path, JudgeSpecs(**judge))
        return {r["metric"]: r for r in results if r["task"] == "instructions"}

    assert not {"relevant", "accuracy_relevant"} & set(measured())
    found = measured(relevance=ModelSpec("base", folders["sft"], True))
    assert found["relevant"]["n"] == found["accuracy_relevant"]["n"] == 3
    assert found["accuracy_relevant"]["value"] <= found["accuracy"]["value"]
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").open()]
    assert all(isinstance(sample["relevance"], float) for sample in samples)

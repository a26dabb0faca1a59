"""The reward step holds prompts out and writes exactly the pairs that it was evaluated on."""

import json

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_pairs
from hfllm.recipe.config import SourceConfig
from tiny import pair, write_jsonl


def test_the_held_out_pairs_are_written_as_they_were_tested(trained):
    pairs = [pair(i) | {"id": f"p{i}-{k}"} for i in range(24) for k in range(2)]
    long = [{"role": "assistant", "content": "A baker. " * 200}]
    write_jsonl(trained.folder / "data" / "pairs.jsonl", [*pairs, pair(3) | {"rejected": long}])
    step = trained.run("reward", "reward.data.holdout=0.25")
    manifest = json.loads(step.manifest.read_text())

    source = SourceConfig(step="reward", file="heldout.jsonl")
    held = list(read_pairs([source], lambda name: step.data))
    asked = {row["prompt"][0]["content"] for row in held}
    assert len(asked) == 6 and len(held) == 12 == manifest["metrics"]["pairs_heldout"]
    assert {row["origin"] for row in held} == {"pairs"}

    ledger = Ledger.from_json(manifest["ledger"])
    ledger.check()
    left_out = ledger.reasons()
    assert ledger.total("kept") == 36 == manifest["metrics"]["pairs_train"]
    assert sum(left_out.values()) == 13 and left_out["heldout"] in (12, 13)
    assert 0 <= manifest["metrics"]["eval_accuracy"] <= 1
    assert "length_baseline_accuracy" in manifest["metrics"]


def test_what_a_source_of_held_out_pairs_leaves_out_is_noted(trained):
    rows = [pair(40) | {"id": "a"}, pair(41) | {"id": "b", "rejected": ""}]
    write_jsonl(trained.folder / "data" / "apart.jsonl", rows)
    step = trained.run("reward", "reward.data.heldout=[{path: data/apart.jsonl}]")
    manifest = json.loads(step.manifest.read_text())
    assert manifest["metrics"]["pairs_heldout"] == 1
    assert manifest["notes"] == ["held-out pairs left out: empty_answer 1"]


def test_held_out_pairs_are_tested_beside_pairs_of_like_length(trained, monkeypatch):
    pairs = [pair(i) for i in range(25)]
    for i in (0, 3, 6):
        pairs[i] |= {"rejected": [{"role": "assistant", "content": "A baker. " * (2 + i // 3)}]}
    write_jsonl(trained.folder / "data" / "pairs.jsonl", pairs)
    fitted = []
    monkeypatch.setattr("hfllm.training.fit.fit", lambda trainer, *_: fitted.append(trainer))
    step = trained.run("reward", "reward.data.heldout=[{path: data/pairs.jsonl}]")
    longest = [
        max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in fitted[0].eval_dataset
    ]
    by_length, short_batch = longest[:24], longest[24:]  # of three batches of 8, and one of 1
    assert by_length == sorted(by_length) and len(set(by_length)) > 2
    assert len(short_batch) == 1 and short_batch[0] < max(longest)  # the first pair, as it came
    held = list(
        read_pairs([SourceConfig(step="reward", file="heldout.jsonl")], lambda name: step.data)
    )
    assert len(held) == len(longest)

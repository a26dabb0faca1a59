"""A fingerprint changes with everything that can change the artifact, and with nothing else."""

import json

import pytest

from hfllm.runs import fingerprint
from hfllm.runs.fingerprint import (
    accepted_fingerprints,
    digest,
    step_fingerprint,
)
from tiny import write_jsonl


def of(workspace, name="sft", *overrides):
    return step_fingerprint(workspace.load(*overrides), name)


@pytest.mark.parametrize(
    "override",
    [
        "sft.trainer.learning_rate=1e-5",  # its own
        "sft.data.seq_len=32",
        "sft.peft={r: 4}",
        "pretrain.trainer.max_steps=5",  # its parent's
        "tokenizer.vocab_size=301",  # its parent's parent's
        "seed=1",
    ],
)
def test_it_changes_with(workspace, override):
    assert of(workspace, "sft", override) != of(workspace)


@pytest.mark.parametrize(
    "override",
    [
        "sft.trainer.logging_steps=7",
        "sft.trainer.save_steps=3",
        "pretrain.trainer.save_total_limit=1",
        "sft.trainer.report_to=tensorboard",
        "sft.resume=false",
        "reward.trainer.max_steps=9",  # not upstream
        "name=other",
        "sft.trainer.max_grad_norm=1.0",  # our default, stated
    ],
)
def test_it_does_not_change_with(workspace, override):
    assert of(workspace, "sft", override) == of(workspace)


def test_it_changes_with_an_outside_file_of_its_own_or_upstream(workspace):
    before = of(workspace)
    write_jsonl(workspace.folder / "data" / "pairs.jsonl", [{"a": 1}])
    assert of(workspace) == before  # read by another step
    path = workspace.folder / "data" / "documents.jsonl"
    text = path.read_text()
    path.write_text(text.replace("baker", "maker"))
    assert of(workspace) != before
    path.write_text(text)
    assert of(workspace) == before


@pytest.mark.parametrize("pattern", ["data/**/*.jsonl", "~/docs/*.jsonl", "data", "data/a.jsonl"])
def test_every_way_to_name_files_is_watched(workspace, monkeypatch, pattern):
    monkeypatch.setenv("HOME", str(workspace.folder))
    for place in ("docs/a.jsonl", "data/deep/er/a.jsonl", "data/a.jsonl"):
        write_jsonl(workspace.folder / place, [{"text": "one"}])
    override = f"tokenizer.data=[{{path: '{pattern}'}}]"
    before = of(workspace, "tokenizer", override)
    for place in ("docs/a.jsonl", "data/deep/er/a.jsonl", "data/a.jsonl"):
        write_jsonl(workspace.folder / place, [{"text": "two"}])
    assert of(workspace, "tokenizer", override) != before


def edit_the_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("limit", [fingerprint.WHOLE_BYTES, 0], ids=["read whole", "by its time"])
def test_it_changes_with_a_byte_in_the_middle_of_a_file(workspace, monkeypatch, limit):
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", limit)
    path = workspace.folder / "data" / "documents.jsonl"
    write_jsonl(path, [{"text": "one baker " * 40_000}])
    before = of(workspace)
    assert of(workspace) == before
    edit_the_middle(path)
    assert of(workspace) != before


def test_what_a_former_version_wrote_is_accepted_but_never_for_what_this_one_wrote(workspace):
    path = workspace.folder / "data" / "documents.jsonl"
    write_jsonl(path, [{"text": "one baker " * 40_000}])
    recipe = workspace.load()
    former, now = step_fingerprint(recipe, "sft", whole=False), of(workspace)
    assert {former, now} == set(accepted_fingerprints(recipe, "sft")) and former != now
    edit_the_middle(path)
    assert now not in accepted_fingerprints(recipe, "sft")


def test_it_changes_with_an_outside_model(workspace):
    weights = workspace.folder / "base" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    before = of(workspace, "sft", "sft.init=base")
    weights.write_bytes(b"two")
    assert of(workspace, "sft", "sft.init=base") != before


def test_a_worlds_own_seed_counts_also_when_it_is_zero(workspace):
    workspace.write("seed: 5\nworld: {}\n")
    assert of(workspace, "world", "world.seed=0") != of(workspace, "world")
    assert of(workspace, "world", "world.seed=5") == of(workspace, "world")


def test_digests_do_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})


def launched(words):
    return f"launch.accelerate_args=[{words}]"


@pytest.mark.parametrize("words", ["--gradient_accumulation_steps,3", "--gradient_clipping,0.5"])
def test_it_changes_with_what_the_recipes_launch_asks_of_the_training(workspace, words):
    assert of(workspace, "sft", launched(words)) != of(workspace)


@pytest.mark.parametrize(
    "words",
    ["--num_processes,2", "--gradient_accumulation_steps,1", "--gradient_clipping,1",
     "--mixed_precision,no", "--config_file,nothere.yaml"],
)  # fmt: skip
def test_it_does_not_change_with_a_launch_that_trains_alike(workspace, words):
    assert of(workspace, "sft", launched(words)) == of(workspace)

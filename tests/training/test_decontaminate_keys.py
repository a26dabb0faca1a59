"""`decontaminate:` of chats, pairs and prompts: what holds a test is dropped, counted and said."""

import json

import pytest
from transformers import AutoTokenizer

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_pairs, read_prompts, read_texts
from hfllm.rl.rollout_prompts import read_fitting_prompts
from hfllm.runs.manifest import Manifest
from hfllm.training.pairs import read_split


@pytest.fixture()
def tests_of(tmp_path):
    """Write a file of tests: the given question, and one that is too short."""

    def write(question):
        rows = [{"id": "one", "question": question}, {"id": "short", "question": "Why?"}]
        path = tmp_path / "tests.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"[{{path: {path}}}]"

    return write


NOTE = {("tests", "unsearched:too_short"): {"": 1}}


def test_pairs_that_hold_a_test_are_dropped(workspace, tests_of, capsys):
    plain = workspace.step("reward").spec.config.data
    step = workspace.step("reward")
    every = list(read_pairs(plain.mixture, step.data_of, Ledger()))
    question = every[0]["prompt"][-1]["content"]
    step = workspace.step("reward", f"reward.data.decontaminate={tests_of(question)}")
    ledger, manifest = Ledger(), None
    train, heldout = read_split(step.spec.config.data, step, ledger, manifest)
    holding = [row for row in every if row["prompt"][-1]["content"] == question]
    assert ledger.reasons()["contamination"] == len(holding) > 0
    assert len(train) + len(heldout) == len(every) - len(holding)
    assert NOTE.items() <= ledger.notes.items()
    assert "tests: 1 of 2 tests could not be looked for" in capsys.readouterr().out


def test_prompts_that_hold_a_test_are_dropped(trained, tests_of):
    step = trained.step("ppo")
    tokenizer = AutoTokenizer.from_pretrained(trained.step("sft").model)
    every = list(read_prompts(step.spec.config.data.mixture, step.data_of, Ledger()))
    question = every[0]["prompt"][-1]["content"]
    step = trained.step("ppo", f"ppo.data.decontaminate={tests_of(question)}")
    ledger = Ledger()
    kept, _ = read_fitting_prompts(step.spec.config.data, step, tokenizer, ledger)
    assert question not in [row["prompt"][-1]["content"] for row in kept]
    assert len(kept) == len(every) - ledger.reasons()["contamination"] < len(every)
    assert NOTE.items() <= ledger.notes.items()


def test_chats_say_it_in_the_manifest(trained, tests_of):
    step = trained.run("sft", f"sft.data.decontaminate={tests_of('Who is number 900?')}")
    ledger = Ledger.from_json(Manifest.read(step.manifest).ledger)
    assert NOTE.items() <= ledger.notes.items()


def test_replayed_documents_that_hold_a_test_are_dropped(trained, tests_of):
    step = trained.step("sft", "sft.data.replay=[{path: data/documents.jsonl}]")
    every = list(read_texts(step.spec.config.data.replay, step.data_of, Ledger()))
    question = every[0]["text"]
    step = trained.run(
        "sft",
        "sft.data.replay=[{path: data/documents.jsonl}]",
        f"sft.data.decontaminate={tests_of(question)}",
    )
    ledger = Ledger.from_json(Manifest.read(step.manifest).ledger)
    found = [row for row in every if question in row["text"]]
    assert ledger.reasons(source="documents") == {"contamination": len(found)}
    assert ledger.rows["documents", "kept"]["documents"] == len(every) - len(found) > 0
    assert ledger.notes["tests", "unsearched:too_short"] == {"": 1}

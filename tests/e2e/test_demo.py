"""A shrunken demo: the shipped recipe, every step, through the command line, then once more."""

import json
import shutil

import pytest
from small_demo import SMALL, make_place

from hfllm.data.ledger import Ledger
from hfllm.stages import find_stages

pytestmark = pytest.mark.e2e

STEPS = (
    "world", "curate", "tokenizer", "pretrain", "sft", "reward", "ppo", "evaluate", "report",
)  # fmt: skip
TRAINED = [step for step in STEPS if step in (stages := find_stages()) and stages[step].trains]


def manifest(place, step: str) -> dict:
    return json.loads((place.run / step / "manifest.json").read_text())


def test_every_step_is_done_and_knows_its_parents(demo):
    manifests = {step: manifest(demo, step) for step in STEPS}
    assert {m["status"] for m in manifests.values()} == {"done"}
    for m in manifests.values():
        for parent, fingerprint in m["parents"].items():
            assert manifests[parent]["fingerprint"] == fingerprint


def test_ledgers_are_conserved_and_the_mess_is_dropped_with_reasons(demo):
    for step in ("curate", *TRAINED):
        ledger = Ledger.from_json(manifest(demo, step)["ledger"])
        ledger.check()
        assert ledger.total("kept") > 0
    reasons = Ledger.from_json(manifest(demo, "curate")["ledger"]).reasons()
    assert {"exact_duplicate", "near_duplicate", "language", "contamination"} <= set(reasons)


def test_the_models_share_one_tokenizer_and_learn(demo):
    tokenizers = {manifest(demo, s)["artifact"]["tokenizer"] for s in ("tokenizer", *TRAINED)}
    assert len(tokenizers) == 1
    lines = (demo.run / "pretrain" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if '"loss"' in line]
    assert losses[-1] < 0.7 * losses[0]


def test_results_have_intervals_and_the_report_shows_them(demo):
    results = json.loads((demo.run / "evaluate" / "results.json").read_text())["results"]
    assert {r["model"] for r in results} >= {"pretrain", "sft", "ppo", "reward"}
    assert all(r["low"] <= r["value"] <= r["high"] and r["n"] > 0 for r in results)
    page = (demo.run / "report" / "index.html").read_text()
    assert "known_facts" in page and "<svg" in page
    card = (demo.run / "sft" / "model" / "README.md").read_text()
    assert card.startswith("---")


def test_a_second_run_does_nothing_and_an_override_makes_steps_stale(demo):
    again = demo.type("hfllm", "run", "configs/demo.yaml", *SMALL)
    assert again.returncode == 0
    assert again.stdout.count("skip") == len(STEPS) and " run " not in again.stdout
    changed = demo.type(
        "hfllm", "run", "configs/demo.yaml", *SMALL, "ppo.trainer.gamma=0.9", "--dry-run"
    )
    assert "config changed: trainer.gamma" in changed.stdout
    assert changed.stdout.count("skip") == STEPS.index("ppo")


def test_a_launch_script_gives_the_same_artifact_as_the_pipeline(demo, tmp_path):
    place = make_place(tmp_path)
    shutil.copytree(demo.run, place.run)
    shutil.rmtree(place.run / "sft")
    done = place.type(
        "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1",
        "--dynamo_backend", "no",
        "launch/sft.py", "configs/demo.yaml", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert manifest(place, "sft")["artifact"] == manifest(demo, "sft")["artifact"]

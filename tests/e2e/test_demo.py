"""A shrunken demo: the shipped recipe, every step, through the command line, then once more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfllm.data.ledger import Ledger

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
STEPS = (
    "world", "curate", "tokenizer", "pretrain", "sft", "reward", "ppo", "evaluate", "report",
)  # fmt: skip
SMALL = (
    "world.people=12 world.strangers=80 world.documents=800 world.chats=400 world.pairs=200 "
    "world.prompts=200 world.tests=24 tokenizer.vocab_size=600 pretrain.data.seq_len=128 "
    "pretrain.model.hidden_size=64 pretrain.model.intermediate_size=128 "
    "pretrain.model.num_hidden_layers=2 pretrain.model.num_attention_heads=2 "
    "pretrain.model.num_key_value_heads=2 pretrain.trainer.max_steps=60 "
    "pretrain.trainer.eval_steps=30 sft.trainer.num_train_epochs=1 sft.data.seq_len=128 "
    "reward.trainer.num_train_epochs=1 reward.data.seq_len=128 ppo.trainer.max_steps=8 "
    "ppo.trainer.max_completion_length=24"
).split()


def hfllm(*words: str, run_dir: Path, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hfllm", *words, *SMALL, f"run_dir={run_dir}"],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    done = hfllm("run", "configs/demo.yaml", run_dir=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def manifest(run_dir: Path, step: str) -> dict:
    return json.loads((run_dir / "demo" / step / "manifest.json").read_text())


def test_every_step_is_done_and_knows_its_parents(run_dir):
    manifests = {step: manifest(run_dir, step) for step in STEPS}
    assert {m["status"] for m in manifests.values()} == {"done"}
    for m in manifests.values():
        for parent, fingerprint in m["parents"].items():
            assert manifests[parent]["fingerprint"] == fingerprint


def test_ledgers_are_conserved_and_the_mess_is_dropped_with_reasons(run_dir):
    for step in ("curate", "pretrain", "sft", "reward", "ppo"):
        ledger = Ledger.from_json(manifest(run_dir, step)["ledger"])
        ledger.check()
        assert ledger.total("kept") > 0
    reasons = Ledger.from_json(manifest(run_dir, "curate")["ledger"]).reasons()
    assert {"exact_duplicate", "near_duplicate", "language", "contamination"} <= set(reasons)


def test_the_models_share_one_tokenizer_and_learn(run_dir):
    tokenizers = {manifest(run_dir, s)["artifact"]["tokenizer"] for s in STEPS[2:7]}
    assert len(tokenizers) == 1
    lines = (run_dir / "demo" / "pretrain" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if '"loss"' in line]
    assert losses[-1] < 0.7 * losses[0]


def test_results_have_intervals_and_the_report_shows_them(run_dir):
    results = json.loads((run_dir / "demo" / "evaluate" / "results.json").read_text())["results"]
    assert {r["model"] for r in results} >= {"pretrain", "sft", "ppo"}
    assert all(r["low"] <= r["value"] <= r["high"] and r["n"] > 0 for r in results)
    page = (run_dir / "demo" / "report" / "index.html").read_text()
    assert "known_facts" in page and "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_does_nothing_and_an_override_makes_steps_stale(run_dir):
    again = hfllm("run", "configs/demo.yaml", run_dir=run_dir)
    assert again.returncode == 0
    assert again.stdout.count("skip") == len(STEPS) and " run " not in again.stdout
    changed = hfllm("run", "configs/demo.yaml", "ppo.trainer.gamma=0.9", "--dry-run", run_dir=run_dir)
    assert "config changed: trainer.gamma" in changed.stdout
    assert changed.stdout.count("skip") == 6  # all before ppo


def test_a_launch_script_gives_the_same_artifact_as_the_pipeline(run_dir, tmp_path):
    import shutil

    shutil.copytree(run_dir / "demo", tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo" / "sft")
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1",
         "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
         "launch/sft.py", "configs/demo.yaml", *SMALL, f"run_dir={tmp_path}"],
        cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert manifest(tmp_path, "sft")["artifact"] == manifest(run_dir, "sft")["artifact"]

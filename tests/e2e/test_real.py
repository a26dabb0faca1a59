"""configs/real-cpu.yaml shrunk: every step on real rows, through the command line."""

import glob
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_rows
from hfllm.recipe.config import SourceConfig
from hfllm.recipe.graph import sources_in
from tiny import load_recipe

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
RECIPE = "configs/real-cpu.yaml"
SMALL = (
    "curate.sources[0].limit=60",
    "curate.sources[1].limit=30",
    "curate.sources[2].limit=60",
    "curate.holdout=0.1",
    "tokenizer.vocab_size=800",
    "pretrain.data.seq_len=256",
    "pretrain.model.hidden_size=64",
    "pretrain.model.intermediate_size=128",
    "pretrain.model.num_hidden_layers=2",
    "pretrain.model.num_attention_heads=2",
    "pretrain.model.num_key_value_heads=2",
    "pretrain.trainer.max_steps=40",
    "pretrain.trainer.eval_steps=40",
    "pretrain.data.max_heldout_tokens=5000",
    "sft.data.seq_len=256",
    "sft.data.mixture[0].limit=200",
    "sft.data.mixture[1].limit=20",
    "sft.data.heldout[0].limit=20",
    "sft.data.heldout[1].limit=5",
    "sft.trainer.max_steps=20",
    "reward.data.seq_len=256",
    "reward.data.mixture[0].limit=120",
    "reward.data.mixture[1].limit=120",
    "reward.trainer.max_steps=6",
    "ppo.data.mixture[0].limit=100",
    "ppo.trainer.max_steps=4",
    "ppo.trainer.max_completion_length=16",
    "evaluate.tasks.heldout_text.limit=6",
    "evaluate.tasks.blimp.limit=60",
    "evaluate.tasks.arc_easy.limit=12",
    "evaluate.tasks.dolly_heldout.limit=8",
    "evaluate.tasks.dolly_heldout.max_new_tokens=16",
)


def missing() -> list[str]:
    """The files that the recipe names and that are not there."""
    steps = load_recipe(ROOT / RECIPE).steps.values()
    paths = [source.path for step in steps for _, source in sources_in(step.config) if source.path]
    return [path for path in paths if not glob.glob(str(ROOT / path))]


def hfllm(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hfllm", *words],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    if missing():
        pytest.skip(f"{missing()[0]} is missing")
    folder = tmp_path_factory.mktemp("runs")
    done = hfllm("run", RECIPE, *SMALL, f"run_dir={folder}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "real-cpu"


def manifest(run: Path, step: str) -> dict:
    return json.loads((run / step / "manifest.json").read_text())


def rows(run: Path, step: str, file: str) -> list[dict]:
    source = SourceConfig(step=step, file=file)
    return list(read_rows(source, lambda name: run / name / "data"))


def test_every_step_is_done_and_every_ledger_is_conserved(run):
    for step in load_recipe(ROOT / RECIPE).steps:
        found = manifest(run, step)
        assert found["status"] == "done"
        Ledger.from_json(found["ledger"]).check()


def test_what_must_not_be_published_is_not_read(run):
    ids = [
        row["id"] for file in ("kept", "heldout") for row in rows(run, "curate", f"{file}.jsonl")
    ]
    assert any(i.startswith("american-government/") for i in ids)
    assert not any(i.startswith("introduction-business/") for i in ids)
    for model in ("pretrain", "sft", "reward", "ppo"):
        card = (run / model / "model" / "README.md").read_text()
        assert 'license: "cc-by-sa-4.0"' in card and "OpenStax" in card


def test_no_title_and_no_question_stands_on_both_sides(run):
    titles = [
        {row["id"].split("#")[0] for row in rows(run, "curate", f"{file}.jsonl")}
        for file in ("kept", "heldout")
    ]
    assert titles[1] and not titles[0] & titles[1]
    held = rows(run, "reward", "heldout.jsonl")
    found = manifest(run, "reward")["metrics"]
    assert len(held) == found["pairs_heldout"] > 10
    assert {row["origin"] for row in held} == {"hh_harmless", "pandalm"}


def test_the_table_has_the_reward_model_beside_length_and_open_prompts_without_accuracy(run):
    found = json.loads((run / "evaluate" / "results.json").read_text())["results"]
    by_key = {(r["model"], r["task"], r["metric"]): r for r in found}
    accuracy = by_key["reward", "human_preference", "accuracy"]
    assert accuracy["n"] == manifest(run, "reward")["metrics"]["pairs_heldout"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["value"] == pytest.approx(
        manifest(run, "reward")["metrics"]["eval_accuracy"], abs=1.5 / accuracy["n"]
    )
    assert by_key["reward", "human_preference", "length_accuracy"]["value"] >= 0.5
    assert {m for _, t, m in by_key if t == "dolly_heldout"} == {
        "ended", "answer_tokens", "reward", "looping", "same_answer", "reply_loss"
    }  # fmt: skip
    assert by_key["ppo", "all_answers", "kl"]["n"] == 8
    assert ("sft", "all_answers", "accuracy") not in by_key
    page = (run / "report" / "index.html").read_text()
    assert 'class="badge wrong"' not in page and "dolly heldout" in page


def test_missing_data_is_told_in_one_line_per_source_before_anything_starts(tmp_path):
    done = hfllm("run", RECIPE, f"run_dir={tmp_path}", "vars.data=no/such/data")
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert len(lines) == len(set(lines)) > 10
    for line in lines:
        assert "no file no/such/data/" in line and "get the data (docs/your-data.md)" in line

"""The recipe under "Your own data" in README.md, as it stands there, on a user's files."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import TOWNS, TRADES, chat, load_recipe, pair, write_jsonl

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"
SMALL = (
    "tokenizer.vocab_size=300",
    "pretrain.data.seq_len=64",
    "pretrain.model.hidden_size=32",
    "pretrain.model.intermediate_size=64",
    "pretrain.model.num_hidden_layers=2",
    "pretrain.model.num_attention_heads=2",
    "pretrain.trainer.max_steps=30",
    "sft.data.seq_len=64",
    "sft.trainer.max_steps=10",
    "reward.data.seq_len=64",
    "ppo.trainer.max_steps=2",
    "ppo.trainer.max_completion_length=8",
    "evaluate.tasks.replies.max_new_tokens=8",
)


def recipe() -> str:
    """The first YAML block between the markers; skips where README.md has none."""
    section = re.search(r"<!-- own-data -->(.*?)<!-- /own-data -->", README.read_text(), re.DOTALL)
    block = re.search(r"```yaml\n(.*?)```", section[1] if section else "", re.DOTALL)
    if block is None:
        pytest.skip("README.md has no recipe between its own-data markers")
    return block[1]


def page(number: int) -> str:
    """Eight sentences of English that no other page has."""
    draw = random.Random(number)
    verbs = ("walked to", "wrote about", "dreamt of", "came home from", "never liked", "painted")
    return " ".join(
        f"The {draw.choice(TRADES)} {draw.choice(verbs)} {draw.choice(TOWNS)} in the year "
        f"{draw.randint(1000, 1999)} and had {draw.randint(2, 99)} cats."
        for _ in range(8)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my" / "texts").mkdir(parents=True)
    for i in range(60):
        (folder / "my" / "texts" / f"{i}.txt").write_text(page(i))
    write_jsonl(
        folder / "my" / "chats.jsonl", [{"messages": chat(i)["messages"]} for i in range(40)]
    )
    pairs = [pair(i) for i in range(30)]
    rows = [
        {"prompt": p["prompt"][0]["content"]}
        | {side: p[side][0]["content"] for side in ("chosen", "rejected")}
        for p in pairs
    ]
    write_jsonl(folder / "my" / "pairs.jsonl", rows)
    (folder / "mine.yaml").write_text(recipe())
    return folder


@pytest.fixture(scope="module")
def run(folder) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hfllm", "run", "mine.yaml", *SMALL],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "runs" / "mine"


def test_the_recipe_is_short_and_every_step_of_it_is_done(folder, run):
    assert len(recipe().splitlines()) < 15
    for step in load_recipe(folder / "mine.yaml").steps:
        assert json.loads((run / step / "manifest.json").read_text())["status"] == "done"


def test_the_users_rows_arrive_and_the_results_stand_in_the_report(run):
    kept = (run / "curate" / "data" / "kept.jsonl").read_text().splitlines()
    assert {json.loads(line)["source"] for line in kept} == {"texts"}
    results = json.loads((run / "evaluate" / "results.json").read_text())["results"]
    assert {(r["model"], r["task"]) for r in results} >= {
        ("reward", "pairs"), ("sft", "replies"), ("ppo", "replies")
    }  # fmt: skip
    assert "replies" in (run / "report" / "index.html").read_text()

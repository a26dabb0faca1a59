"""The recipes of README.md's doors, as they stand there, on a user's files."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hfllm.recipe.trainers import check_trainers
from readme import recipe
from tiny import TOWNS, TRADES, chat, load_recipe, pair, write_jsonl

pytestmark = pytest.mark.e2e

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
    (folder / "mine.yaml").write_text(recipe(1))
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
    assert len(recipe(1).splitlines()) < 15
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


def test_the_recipe_that_starts_from_a_model_runs_to_its_report(folder, run):
    write_jsonl(
        folder / "my" / "heldout.jsonl", [{"messages": chat(i)["messages"]} for i in range(40, 50)]
    )
    base = shutil.copytree(run / "sft" / "model", folder / "base")
    text = recipe(2).replace("models/SmolLM2-135M-Instruct", str(base))
    assert text != recipe(2) and len(text.splitlines()) <= 12
    (folder / "tuned.yaml").write_text(text)
    small = ("sft.trainer.max_steps=2", "sft.data.seq_len=64")
    small += ("evaluate.tasks.replies.max_new_tokens=8",)
    done = subprocess.run(
        [sys.executable, "-m", "hfllm", "run", "tuned.yaml", *small],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Outcome" in (folder / "runs" / "tuned" / "report" / "index.html").read_text()


def test_the_recipe_for_several_gpus_is_a_valid_one(tmp_path):
    root = Path(__file__).parents[2]
    path = tmp_path / "big.yaml"
    path.write_text(recipe(3).replace("configs/", f"{root}/configs/"))
    loaded = load_recipe(path)
    assert list(loaded.steps) == ["sft", "evaluate", "report"] and len(recipe(3).splitlines()) <= 12
    check_trainers(loaded, list(loaded.steps))


def test_the_readmes_reward_function_is_a_reward_function(folder, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    (tmp_path / "my_rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    from hfllm.rl.rewards import load_functions

    (pays,) = load_functions(["my_rewards:brief"])
    answers = [[{"role": "assistant", "content": text}] for text in ("Yes.", "No. " * 80)]
    assert pays(prompts=[[], []], completions=answers, completion_ids=[[1], [2]]) == [1.0, 0.0]

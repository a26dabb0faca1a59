"""The commands on a real model."""

import os
import subprocess
import sys


def hfllm(*words, typed=None):
    return subprocess.run(
        [sys.executable, "-m", "hfllm", *map(str, words)],
        input=typed,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=300,
    )


def test_chat_knows_the_capital_of_france_and_holds_a_conversation(folder):
    done = hfllm("chat", folder, typed="What is the capital of France?\nAnd its language?\n")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "French" in done.stdout


def test_tokens_of_its_own_tokenizer(folder):
    done = hfllm("tokens", "--tokenizer", folder, typed="The capital of France is Paris.\n")
    assert done.returncode == 0 and "7042" in done.stdout, done.stdout + done.stderr


def test_eval_gives_a_table_with_chance(folder, data, tmp_path):
    done = hfllm(
        "eval", folder, "--tests", data / "eval/core/arc_easy.jsonl.gz",
        "--tests", data / "eval/core/lambada_openai.jsonl.gz", "--limit", 8, "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {tuple(x.strip() for x in line.split("|")[1:3]) for line in done.stdout.splitlines()
            if line.startswith("|")}  # fmt: skip
    assert {("arc_easy", "acc"), ("arc_easy", "acc_norm"), ("arc_easy", "ece")} <= rows
    assert {("lambada_openai", "acc"), ("lambada_openai", "perplexity")} <= rows
    assert (tmp_path / "items.jsonl").read_text().count("\n") == 16

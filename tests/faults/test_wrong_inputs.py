"""Each verb with what a user can give it by mistake: one `error:` line and exit code 1, always."""

import json
import os
import shutil
from pathlib import Path

import pytest
import transformers  # noqa: F401  its log keeps the stream of its import: not a captured one
from typer.testing import CliRunner

from hfllm.cli import app

MODEL = "runs/tiny/sft/model"
FILES = {
    "q.jsonl": '{"prompt": "Who?", "answer": "x"}\n',
    "odd.jsonl": '{"prompt": 3, "answer": ["x", {}]}\n',
    "empty.jsonl": "",
    "list.jsonl": "[1, 2]\n",
    "null.jsonl": "null\n",
    "binary.jsonl": b"\xff\xfe\x00",
    "words.txt": "hello",
    "no.gguf": "xx",
    "void.gguf": "",
    "plain.yaml": "x: 1\n",
}
# folders that are copies of a good model, each with one file changed (None: removed)
MODELS = {
    "no-tokenizer": ("tokenizer.json", None),
    "broken-tokenizer": ("tokenizer.json", "{"),
    "no-weights": ("model.safetensors", None),
    "empty-weights": ("model.safetensors", ""),
    "broken-config": ("config.json", "{"),
    "list-config": ("config.json", "[]"),
    "binary-config": ("config.json", b"\xff\xff"),
    "unknown-type": ("config.json", '{"model_type": "nope"}'),
    "wrong-type": ("config.json", '{"model_type": "llama", "hidden_size": "x"}'),
    "broken-manifest": ("manifest.json", "{"),
    "list-manifest": ("manifest.json", "[]"),
}
NOWHERE = ["no.gguf", "void.gguf", "none.gguf", "folder.gguf", "loop", "dangling", "", "..", "~/x",
           "q.jsonl", "runs/tiny/none", "a b", "x" * 300, "[a]", "owner/name"]  # fmt: skip
TESTS = ["odd.jsonl", "empty.jsonl", "list.jsonl", "null.jsonl", "binary.jsonl", "none.jsonl",
         "loop", "dangling", "data", "a[b].jsonl", "data/documents.jsonl"]  # fmt: skip
RECIPES = ["none.yaml", "binary.jsonl", ".", "data", "loop", "dangling", "empty.jsonl", "",
           "/dev/null", "plain.yaml"]  # fmt: skip
COMMANDS = [
    *(("eval", model, "--tests", "q.jsonl") for model in (*MODELS, *NOWHERE)),
    *(("chat", model) for model in (*MODELS, *NOWHERE)),
    *(("tokens", "hi", "--tokenizer", place) for place in NOWHERE),
    ("tokens", "hi", "--tokenizer", "no-tokenizer"),
    ("tokens", "hi", "--tokenizer", "broken-tokenizer"),
    *(("eval", MODEL, "--tests", file) for file in TESTS),
    *(("eval", MODEL, "--text", file) for file in ("empty.jsonl", "binary.jsonl", "none.txt")),
    ("eval", MODEL),
    ("eval", MODEL, "--tests", "q.jsonl", "--limit", "0"),
    ("eval", MODEL, "--tests", "q.jsonl", "--max-new-tokens", "-1"),
    ("eval", MODEL, "--tests", "q.jsonl", "--out", "words.txt"),
    ("eval", MODEL, "--tests", "q.jsonl", "--out", "words.txt/x"),
    ("chat", MODEL, "--temperature", "nan"),
    ("chat", MODEL, "--temperature", "-1"),
    ("chat", MODEL, "--max-new-tokens", "0"),
    *(("serve", model, "--port", "0") for model in ("no-tokenizer", "broken-config", *NOWHERE)),
    ("serve", "runs/tiny/pretrain/model", "--port", "0"),
    ("serve", MODEL, "--port", "70000"),
    ("serve", MODEL, "--port", "-1"),
    ("serve", MODEL, "--port", "0", "--host", "no host"),
    ("serve", MODEL, "--port", "0", "--host", "192.0.2.1"),
    ("serve", MODEL, "--port", "0", "--max-prompt-tokens", "100000000"),
    ("serve", MODEL, "--port", "0", "--max-prompt-tokens", "1"),
    ("serve", MODEL, "--temperature", "3"),
    ("serve", MODEL, "--at-once", "0"),
    ("serve", MODEL, "--seconds", "nan"),
    ("serve", MODEL, "--engine", "nope"),
    ("serve", MODEL, "--engine", "vllm"),
    ("serve", MODEL, "--api-key-file", "none"),
    ("serve", MODEL, "--api-key-file", "empty.jsonl"),
    ("serve", MODEL, "--api-key-env", "HFLLM_NO_SUCH_KEY"),
    *(("import", file, "out") for file in NOWHERE),
    ("import", "no.gguf", "out", "--dtype", "int4"),
    *(("export", model, "--to", "gguf", "--out", "made.gguf") for model in (*MODELS, *NOWHERE)),
    *(("export", MODEL, "--to", to, "--out", "data") for to in ("folder", "vllm", "ggfu", "")),
    ("export", MODEL, "--to", "gguf", "--out", "words.txt/x.gguf"),
    ("export", MODEL, "--to", "gguf", "--out", "no.gguf"),
    ("export", MODEL, "--to", "gguf", "--out", "made.gguf", "--dtype", "q4_k_m"),
    ("export", MODEL, "--to", "gguf", "--out", "made.gguf", "--dtype", "int4"),
    ("export", MODEL, "--to", "folder", "--out", "made", "--adapter", "apart"),
    ("export", MODEL, "--to", "hub", "--out", "no-owner", "--dry-run"),
    ("export", MODEL, "--to", "hub", "--out", "owner/name"),
    *((verb, recipe) for recipe in RECIPES for verb in ("run", "show", "report")),
    ("run", "recipe.yaml", "--only", ""),
    ("run", "recipe.yaml", "--from", ""),
    ("show", "recipe.yaml", "--step", ""),
]
OVERRIDES = [
    "=", "a", "sft[0]=1", "sft.data.mixture[x]=1", "sft.data.mixture[9].path=1", "sft.init=${a}",
    "sft.init=${oc.env:NOPE_X}", "sft.init=${", "seed=x", "seed=-1", "run_dir=words.txt",
    "run_dir=loop", "run_dir=dangling", "run_dir=/dev/null", "name=a/b", "name=..",
    "launch=3", "launch.config=.", "launch.config=binary.jsonl", "launch.config=q.jsonl",
    "launch.accelerate_args=3", "launch.accelerate_args=[--help]", "track=3", "vars=3",
    "sft=null", "sft.trainer=3", "sft.trainer.optim=3", "sft.trainer.optim=adamw_foo",
    "sft.trainer.max_steps=x", "sft.trainer.learning_rate=nan", "sft.trainer.learning_rate=-1",
    "sft.trainer.per_device_train_batch_size=0", "sft.trainer.lr_scheduler_kwargs=3",
    "sft.trainer.fsdp=zz", "sft.data.seq_len=-1", "sft.data.mixture=[]", "sft.data.mixture=3",
    "sft.data.mixture=[{path: loop}]", "sft.data.mixture=[{path: /dev/null}]",
    "sft.data.mixture=[{path: ''}]", "sft.data.mixture=[{hub: owner/name}]",
    "sft.data.mixture=[{path: data/chats.jsonl, limit: -1}]",
    "sft.data.mixture=[{path: data/chats.jsonl, columns: {a: 3}}]",
    "sft.data.mixture=[{path: data/chats.jsonl, format: nope}]",
    *(f"sft.init={name}" for name in (*NOWHERE[:6], "broken-config", "list-config", "owner/name",
                                      "binary-config", "unknown-type", "wrong-type")),
    "sft.peft=3", "sft.peft={r: x}", "sft.peft={r: 2, target_modules: nope}",
    "sft.peft={r: 2, target_modules: 3}", "pretrain.model=3",
    "pretrain.model={model_type: nope}", "pretrain.model={model_type: 3}",
    "pretrain.model={model_type: llama, hidden_size: x}", "tokenizer.vocab_size=-1",
    "ppo.reward_functions=[3]", "ppo.reward_functions=[a]", "ppo.reward_functions=['a b:c']",
    "grpo={}", "SFT={stage: sft}", "../escape={stage: sft}",
]  # fmt: skip


def write(path: Path, content: str | bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture(scope="module")
def mess(finished, tmp_path_factory):
    """A finished workspace among files and folders that are not what they seem."""
    folder = tmp_path_factory.mktemp("mess")
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    for name, content in FILES.items():
        write(folder / name, content)
    for name, (file, content) in MODELS.items():
        shutil.copytree(folder / MODEL, folder / name)
        write(folder / name / file, content)
    (folder / "folder.gguf").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def one_line(*words: str) -> None:
    result = CliRunner().invoke(app, list(words), input="hi\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    lines = [line for line in result.stderr.splitlines() if line.strip() and "it/s]" not in line]
    assert result.exit_code == 1, (result.exit_code, result.stdout[-300:], lines)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ") and len(lines[0]) > len("error: ..........")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_a_verb_ends_in_one_line(mess, monkeypatch, words):
    monkeypatch.chdir(mess)
    one_line(*words)


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_dry_run_ends_in_one_line(mess, monkeypatch, override):
    monkeypatch.chdir(mess)
    before = sorted(os.listdir("runs/tiny"))
    one_line("run", "recipe.yaml", "--dry-run", override)
    assert sorted(os.listdir("runs/tiny")) == before


def test_a_manifest_of_another_shape_is_one_line(mess, monkeypatch):
    monkeypatch.chdir(mess)
    path = Path("runs/tiny/sft/manifest.json")
    good = path.read_text()
    try:
        for text in ("", "{", "[]", "3", json.dumps({"step": "sft"})):
            path.write_text(text)
            one_line("run", "recipe.yaml", "--dry-run")
    finally:
        path.write_text(good)

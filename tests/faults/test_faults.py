"""Every bad input that a user can bring ends with one clear line, which says what to do next.

Each case runs the real entry point (what launch/*.py and `hfllm` call) in this process, on a copy
of a finished workspace: exit code 1, nothing but `error:` lines, and the words that name the file,
key or row and the remedy.
"""

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from hfllm.launch import main
from hfllm.runs.manifest import Manifest
from tiny import Workspace, chat, documents, pair, write_jsonl

SKIP = "set `on_error: skip` on the source"


@dataclass
class Fault:
    """What is run on what, and the words that its line must hold."""

    name: str
    command: str  # stage and words, as for `python -m hfllm.launch`
    words: tuple[str, ...]
    prepare: Callable[[Workspace], Any] = field(default=lambda space: None)


def rows(name: str, *content: Any) -> Callable[[Workspace], Any]:
    return lambda space: write_jsonl(space.folder / "data" / name, list(content))


def chats(*turns: tuple[str, str]) -> Callable[[Workspace], Any]:
    messages = [{"role": role, "content": content} for role, content in turns]
    return rows("chats.jsonl", chat(0), {"messages": messages})


def half(space: Workspace, path: str, content: bytes) -> None:
    (space.folder / path).write_bytes(content[: len(content) // 2])


def half_parquet(space: Workspace) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = space.folder / "data" / "d.parquet"
    parquet.write_table(pa.table({"text": [row["text"] for row in documents()]}), path)
    half(space, "data/d.parquet", path.read_bytes())


def half_gzip(space: Workspace) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in documents(400))
    half(space, "data/d.jsonl.gz", gzip.compress(lines.encode()))


def half_weights(space: Workspace) -> None:
    path = "runs/tiny/sft/model/model.safetensors"
    half(space, path, (space.folder / path).read_bytes())


def flipped_weights(space: Workspace) -> None:
    path = space.folder / "runs/tiny/sft/model/model.safetensors"
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def half_reward_model(space: Workspace) -> None:
    shutil.copytree(space.folder / "runs/tiny/sft/model", space.folder / "rm")
    half(space, "rm/model.safetensors", (space.folder / "rm/model.safetensors").read_bytes())


def other_tokenizer(space: Workspace) -> None:
    from hfllm.tokenization.config import TokenizerConfig
    from hfllm.tokenization.train import train_tokenizer

    texts = (f"another text {i}" for i in range(90))
    train_tokenizer(texts, TokenizerConfig(vocab_size=270)).save_pretrained("other")


def other_template(space: Workspace) -> None:
    path = space.folder / "runs/tiny/sft/model/chat_template.jinja"
    path.write_text(path.read_text().replace("a", "b", 1))  # as long as before


def lost(path: str) -> Callable[[Workspace], Any]:
    return lambda space: shutil.rmtree(space.folder / path)


def written(path: str, text: str) -> Callable[[Workspace], Any]:
    return lambda space: (space.folder / path).write_text(text)


RECIPE = [
    Fault("unknown key", "sft sft.dta=1", ("recipe.yaml: sft.dta: ", "Did you mean: 'data'?")),
    Fault(
        "unknown trainer key",
        "sft sft.trainer.learning_rat=1",
        ("recipe.yaml: sft.trainer.learning_rat: ", "Did you mean: 'learning_rate'?"),
    ),
    Fault("wrong type", "sft sft.data.seq_len=x", ("sft.data.seq_len: Value 'x' of type 'str'",)),
    Fault("unknown stage", "sft stf.data=1", ("'stf' is not a stage. Did you mean: 'sft'?",)),
    Fault("cyclic init", "sft pretrain.init=sft", ("pretrain -> sft -> pretrain",)),
    Fault("unknown init", "sft sft.init=pretran", ("sft.init: 'pretran' is no step, model",)),
    Fault("bad override", "sft sft.data", ("found recipe.yaml and 'sft.data'", "step.key=value")),
    Fault("bad value", "sft sft.data=[1,", ("override 'sft.data=[1,': the value is not valid",)),
    Fault("unknown option", "sft --steps 3", ("unknown option --steps", "step.key=value")),
    Fault("unknown step", "sft --step sfft", ("no step 'sfft'. Did you mean: 'sft'?",)),
    Fault("no step named", "sft --step", ("--step needs the name of a step",)),
    Fault("another's step", "sft --step pretrain", ("step 'pretrain' is of stage 'pretrain'",)),
    Fault(
        "no such stage",
        "evaluate",
        ("no step of stage 'evaluate'; the recipe has tokenizer, pretrain",),
    ),
    Fault(
        "beyond positions",
        "sft sft.data.seq_len=128",
        ("sft.data.seq_len: 128 is beyond the 64 positions", "set data.seq_len to 64 or less"),
    ),
    Fault("misspelt model key", "pretrain pretrain.model.hiden_size=3", ("Did you mean: 'hidden",)),
    Fault("optimizer", "sft sft.optimizer=moun", ("sft.optimizer: 'moun' is none of muon; ",)),
    Fault(
        "attention",
        "sft sft.attn_implementation=flash",
        ("sft.attn_implementation: 'flash' is none of eager, sdpa, flash_attention_2",),
    ),
    Fault(
        "attention that mixes packed chats",
        "sft sft.attn_implementation=flash_attention_2",
        ("sft.attn_implementation: flash_attention_2 is not known to keep", "use eager or sdpa"),
    ),
    Fault(
        "attention that mixes packed documents",
        "pretrain pretrain.model.attn_implementation=flash_attention_2",
        ("pretrain.model.attn_implementation: flash_attention_2 is not known to keep",),
    ),
    Fault(
        "attention of a new model",
        "pretrain pretrain.attn_implementation=eager",
        ("pretrain.attn_implementation: write it into pretrain.model",),
    ),
    Fault(
        "peft key",
        "sft sft.peft={rnk: 2}",
        ("sft.peft.rnk: no key of peft.LoraConfig.",),
    ),
    Fault(
        "decay of a schedule",
        "reward reward.trainer.lr_scheduler_type=warmup_stable_decay",
        ("reward.trainer.lr_scheduler_kwargs: warmup_stable_decay needs {num_decay_steps: N}",),
    ),
    Fault(
        "a template behind the rows' back",
        "reward reward.trainer.chat_template_path=x",
        ("reward.trainer.chat_template_path: the template comes with the tokenizer of `init`",),
    ),
    Fault(
        "launch options",
        "sft launch.accelerate_args=--multi_gpu",
        ("launch.accelerate_args: '--multi_gpu' is not a list",),
    ),
    Fault("no init", "sft sft.init=null", ("sft.init: must be set: a step, model folder, .gguf",)),
    Fault(
        "weight without a mixture",
        "reward reward.data.mixture=[{path: data/pairs.jsonl,weight: 2}]",
        ("reward.data.mixture[0].weight: reward does not mix sources", "with `where` or `limit`"),
    ),
    Fault(
        "a share of nothing",
        "sft sft.data.replay_share=0.5",
        ("sft.data.replay_share: set sft.data.replay with it",),
    ),
    Fault(
        "two ways to hold out",
        "reward reward.data.holdout=0.2 reward.data.heldout=[{path: data/pairs.jsonl}]",
        ("reward.data: set heldout or holdout, not both",),
    ),
    Fault(
        "adapters under muon",
        "sft sft.optimizer=muon sft.peft={r: 2}",
        ("sft.optimizer: muon with peft is not supported; leave it out",),
    ),
    Fault("pretrain.peft", "pretrain pretrain.peft={r: 2}", ("pretrain trains every weight",)),
    Fault("evaluated ppo", "ppo ppo.trainer.eval_strategy=steps", ("ppo holds no rows out",)),
    Fault("small vocabulary", "pretrain pretrain.model.vocab_size=9", ("leave it out to have it",)),
]  # fmt: skip

DATA = [
    Fault(
        "missing file",
        "tokenizer tokenizer.data=[{path: data/document.jsonl}]",
        ("tokenizer.data[0]: ", "no file data/document.jsonl; did you mean data/documents.jsonl?"),
    ),
    Fault(
        "truncated parquet",
        "tokenizer tokenizer.data=[{path: data/d.parquet}]",
        ("data/d.parquet: not a whole parquet file", "fetch it again"),
        half_parquet,
    ),
    Fault(
        "truncated gzip",
        "tokenizer tokenizer.data=[{path: data/d.jsonl.gz}]",
        ("data/d.jsonl.gz: the file is cut off after line ", SKIP),
        half_gzip,
    ),
    Fault(
        "broken JSON line",
        "pretrain",
        ("data/documents.jsonl:61: broken JSON at byte 8,073", SKIP),
        rows("documents.jsonl", *documents(), '{"text": "a" "b"}'),
    ),
    Fault(
        "invalid UTF-8",
        "tokenizer",
        ("data/documents.jsonl:2: invalid UTF-8 (0xff at byte ", "convert the file to UTF-8"),
        rows("documents.jsonl", documents()[0], b'{"text": "\xff"}'),
    ),
    Fault(
        "empty documents",
        "tokenizer",
        (
            "tokenizer.data[0]: source 'documents': its first rows give no texts",
            "documents.jsonl:1",
        ),
        rows("documents.jsonl", {"text": " "}),
    ),
    Fault(
        "empty file",
        "tokenizer",
        ("data/documents.jsonl: the file is empty", "remove it, or change the path"),
        rows("documents.jsonl"),
    ),
    Fault(
        "no text column",
        "tokenizer",
        ("data/documents.jsonl:1: no column text or html; the row has: txt", "with `columns`"),
        rows("documents.jsonl", {"txt": "a"}),
    ),
    Fault(
        "html that nobody extracted",
        "tokenizer",
        ("source 'documents', row ", "has `html` and no `text`: run it through `curate` first"),
        rows("documents.jsonl", {"html": "<p>a</p>"}),
    ),
    Fault(
        "large vocabulary",
        "tokenizer tokenizer.vocab_size=3000",
        ("tokenizer.vocab_size: ", "of text allow ", "or set tokenizer.vocab_size="),
    ),
    Fault(
        "wrong roles",
        "sft",
        ("data/chats.jsonl:2: message 2 of 3 is by user, must be by assistant", SKIP),
        chats(("user", "a"), ("user", "b"), ("assistant", "c")),
    ),
    Fault(
        "unknown role",
        "sft",
        ("data/chats.jsonl:2: messages[0] has the unknown role 'robot'; known: system, ", SKIP),
        chats(("robot", "a"), ("assistant", "c")),
    ),
    Fault(
        "no assistant turn",
        "sft",
        ("source 'chats': its first rows give no chats; left out by reason: no_assistant_turn 1",),
        rows("chats.jsonl", {"messages": [{"role": "user", "content": "a"}]}),
    ),
    Fault(
        "no room for an answer",
        "sft",
        ("1 of 1 conversations cannot be trained at seq_len 64", "tokens come before the first"),
        rows("chats.jsonl", {"prompt": "a b c " * 99, "response": "d"}),
    ),
    Fault(
        "equal sides",
        "reward",
        ("data/pairs.jsonl:2: chosen and rejected are equal", SKIP),
        rows("pairs.jsonl", pair(0), {**pair(1), "rejected": pair(1)["chosen"]}),
    ),
    Fault(
        "holdout", "reward reward.data.holdout=2", ("data.holdout: must be 0 or more and below",)
    ),
    Fault(
        "half the weights of a mixture",
        "pretrain pretrain.data.mixture="
        "[{path: data/documents.jsonl,weight: 1},{path: data/heldout.jsonl}]",
        ("give every source a weight or none; without one: ['heldout']",),
    ),
    Fault(
        "hub out of reach",
        "sft sft.data.mixture=[{hub: org/none}]",
        ("sft.data.mixture[0].hub: the hub id org/none is not in the cache", "HF_HUB_OFFLINE=1"),
    ),
]

ARTIFACTS = [
    Fault(
        "tokenizer of another model",
        "sft sft.tokenizer=other",
        ("sft.tokenizer: other (", "is not the tokenizer that the model of `init`", "leave `tok"),
        other_tokenizer,
    ),
    Fault(
        "changed chat template",
        "reward",
        (
            "its parent 'sft' is stale (runs/tiny/sft: its model/chat_template.jinja has ",
            "`hfllm run recipe.yaml --only sft`",
        ),
        other_template,
    ),
    Fault(
        "a flipped byte of the weights that kept its time",
        "reward",
        ("reward: its parent 'sft', runs/tiny/sft: model/model.safetensors has other bytes than",
         "put the file back, or make the step again: `hfllm run recipe.yaml --only sft`"),
        flipped_weights,
    ),
    Fault(
        "missing model parent",
        "ppo",
        (
            "ppo: its parent 'reward' is missing (not run yet)",
            "`hfllm run recipe.yaml --only reward`",
            "`accelerate launch launch/stage.py recipe.yaml --step reward` first",
        ),
    ),
    Fault(
        "stale model parent",
        "sft pretrain.trainer.max_steps=3",
        (
            "its parent 'pretrain' is stale (config changed: trainer.max_steps 4 -> 3)",
            "`hfllm run recipe.yaml --only pretrain pretrain.trainer.max_steps=3`",
        ),
    ),
    Fault(
        "lost model parent",
        "reward",
        ("its parent 'sft' is stale (runs/tiny/sft: its model is gone)",),
        lost("runs/tiny/sft/model"),
    ),
    Fault(
        "cut-off weights",
        "reward",
        ("its parent 'sft' is stale (runs/tiny/sft: its model/model.safetensors has ",),
        half_weights,
    ),
    Fault(
        "cut-off reward model",
        "ppo ppo.reward=rm",
        ("cannot load rm: ",),
        half_reward_model,
    ),
    Fault(
        "a language model as reward",
        "ppo ppo.reward=runs/tiny/sft/model",
        ("runs/tiny/sft/model lacks 1 weights, 'score.weight' first", "by the stage `reward`"),
    ),
    Fault(
        "broken manifest",
        "sft",
        ("runs/tiny/sft/manifest.json: broken manifest", "delete the folder runs/tiny/sft and run"),
        written("runs/tiny/sft/manifest.json", "{"),
    ),
    Fault(
        "no model in a folder",
        "sft sft.init=base",
        ("recipe.yaml: sft.init: ",),
        lambda space: (space.folder / "base").mkdir(),
    ),
    Fault("no reward", "ppo ppo.reward=null", ("ppo.reward: set a reward model (a step or fold",)),
    Fault(
        "a reward that is none",
        "ppo ppo.reward=sft",
        ("ppo.reward: step 'sft' (sft) makes no reward model; those do: reward",),
    ),
    Fault(
        "no such reward function",
        "ppo ppo.reward=null ppo.reward_functions=[hfllm.world.values:none]",
        ("hfllm.world.values has no function 'none'",),
    ),
]  # fmt: skip


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a user sees on standard error, without the libraries' progress bars."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return [line for line in err.splitlines() if line.strip() and "it/s]" not in line]


@pytest.mark.parametrize("fault", [*RECIPE, *DATA, *ARTIFACTS], ids=lambda fault: fault.name)
def test_one_line_names_the_place_and_the_remedy(trained, capsys, fault):
    fault.prepare(trained)
    stage, *words = fault.command.replace(": ", ":\t").split(" ")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(stage, ["recipe.yaml", *(word.replace(":\t", ": ") for word in words)])
    assert caught.value.code == 1
    lines = told(capsys)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    for word in fault.words:
        assert word in lines[0]


def test_several_problems_are_several_lines(trained, capsys):
    with pytest.raises(SystemExit):
        main("sft", ["recipe.yaml", "sft.dta=1", "reward.data.seq_len=x", "stf.a=1"])
    lines = told(capsys)
    assert len(lines) == 3
    assert all(line.startswith("error: recipe.yaml: ") for line in lines)


def test_what_is_skipped_is_counted(trained):
    bad = ['{"text": "a" "b"}', b'{"text": "\xff"}', {"text": ""}, {"txt": "a"}, {"text": None}]
    write_jsonl(trained.folder / "data" / "more.jsonl", [*documents(9), *bad])
    source = "[{path: data/more.jsonl, on_error: skip}]"
    step = trained.run("pretrain", f"pretrain.data.mixture={source}")
    ledger = {row["bucket"]: row["documents"] for row in Manifest.read(step.manifest).ledger}
    assert ledger == {
        "in": 14,
        "kept": 9,
        "dropped:unreadable": 2,
        "dropped:empty": 1,
        "dropped:missing_column": 2,
    }


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_told_before_anything_starts(trained, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**6))
    with pytest.raises(SystemExit):
        main("reward", ["recipe.yaml"])
    assert "0.00 GB free on the disk of runs/tiny, at least 1 GB is needed" in told(capsys)[0]


def test_a_disk_that_fills_up_on_the_way_is_told_and_the_same_command_goes_on(
    trained, capsys, monkeypatch
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "checkpoint-2/optimizer.pt")

    with monkeypatch.context() as patch:
        patch.setattr("hfllm.training.checkpoints.mark_complete", full)
        with pytest.raises(SystemExit) as caught:
            main("reward", ["recipe.yaml"])
    assert caught.value.code == 1
    assert told(capsys)[-1] == (
        "error: the disk is full (checkpoint-2/optimizer.pt); free some space and rerun the same "
        "command to resume"
    )
    main("reward", ["recipe.yaml"])
    assert Manifest.read(trained.step("reward").manifest).status == "done"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nSee the docs"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_no_memory_left_is_told_with_what_to_lower(trained, capsys, monkeypatch, error):
    def full(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("transformers.Trainer.training_step", full)
        with pytest.raises(SystemExit) as caught:
            main("reward", ["recipe.yaml"])
    assert caught.value.code == 1
    (line,) = told(capsys)
    assert line.startswith("error: out of memory (")
    assert "lower trainer.per_device_train_batch_size" in line
    main("reward", ["recipe.yaml"])
    assert Manifest.read(trained.step("reward").manifest).status == "done"


HOLD = (
    "import sys, time; from pathlib import Path; from hfllm.runs.lock import run_lock\n"
    "with run_lock(Path('runs/tiny')):\n    print('held', flush=True); time.sleep(60)"
)


def test_a_second_run_at_the_same_time_is_told_who_works_there(trained, capsys):
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(SystemExit):
            main("reward", ["recipe.yaml"])
    finally:
        holder.kill()
        holder.wait()
    (line,) = told(capsys)
    assert f"runs/tiny is in use by process {holder.pid} on " in line
    assert "name=OTHER" in line


def test_what_is_done_is_not_done_again(trained, capsys):
    main("sft", ["recipe.yaml"])
    assert "sft: done in " in capsys.readouterr().out


def test_missing_data_parents_are_made_and_stale_ones_made_anew(workspace, capsys):
    main("pretrain", ["recipe.yaml"])
    assert "pretrain: making its parent 'tokenizer' first (not run yet)" in capsys.readouterr().out
    main("pretrain", ["recipe.yaml", "tokenizer.vocab_size=301"])
    out = capsys.readouterr().out
    assert (
        "making its parent 'tokenizer' first (config changed: vocab_size 300 -> 301; the old" in out
    )
    names = sorted(p.name.split("-")[0] for p in (workspace.folder / "runs/tiny").iterdir())
    assert names[1:] == ["pretrain", "pretrain.stale", "tokenizer", "tokenizer.stale"]

"""The launch scripts on two CPU processes (gloo): DDP, ZeRO-2, ZeRO-3, and FSDP2 by a trick."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tiny import Workspace, chat

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is missing")
MODES = [
    "ddp",
    pytest.param("zero2", marks=needs_deepspeed),
    pytest.param("zero3", marks=needs_deepspeed),
]


def launch(space: Workspace, mode: str, stage: str, *overrides: str) -> subprocess.CompletedProcess:
    """The README's launch line; DeepSpeed's JSON is named relative to the repository."""
    config = (ROOT / "configs/accelerate" / f"{mode}.yaml").read_text()
    for theirs, ours in {
        "configs/deepspeed": str(ROOT / "configs/deepspeed"),
        "num_processes: 8": "num_processes: 2",
        "mixed_precision: bf16": 'mixed_precision: "no"',
    }.items():
        config = config.replace(theirs, ours)
    local = space.folder / f"{mode}.yaml"
    local.write_text(config)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    if not mode.startswith("zero"):  # under DeepSpeed it silently means plain DDP
        env["ACCELERATE_USE_CPU"] = "true"
    script = [str(ROOT / "launch" / f"{stage}.py")]
    if mode == "fsdp2":
        script = [str(ROOT / "tests/distributed/fsdp_on_cpu.py"), stage]
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(local),
         "--main_process_port", "29613", *script, "recipe.yaml", *overrides],
        cwd=space.folder, env=env, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_train_and_save_a_plain_model(tmp_path, mode):
    space = Workspace(tmp_path).fill()
    for stage in ("pretrain", "sft"):
        done = launch(space, mode, stage, "sft.data.heldout=[{path: data/chats.jsonl}]")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        engine = f", DeepSpeed ZeRO-{mode[-1]}" if mode.startswith("zero") else ""
        assert f"2 process(es){engine}, learning" in done.stdout
        folder = tmp_path / "runs/tiny" / stage
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "done"
        model = AutoModelForCausalLM.from_pretrained(folder / "model")
        assert all(p.numel() and p.isfinite().all() for p in model.parameters())
    # Held-out rows that a process repeats, so that all have as many, do not count.
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    answers = [chat(i)["messages"][-1]["content"] for i in range(24)]
    tokens = [len(tokenizer(text, add_special_tokens=False).input_ids) + 1 for text in answers]
    assert manifest["metrics"]["eval_tokens"] == sum(tokens)


@needs_deepspeed
def test_an_adapter_is_merged_where_the_weights_are_in_shards(tmp_path):
    """The main process loads the base by itself: it would wait for the others for ever."""
    space = Workspace(tmp_path).fill()
    for stage in ("pretrain", "sft"):
        done = launch(space, "zero3", stage, "sft.peft={r: 2, target_modules: all-linear}")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    base, merged = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "runs/tiny" / stage / "model")
        for stage in ("pretrain", "sft")
    )
    moved = [
        name
        for (name, old), new in zip(base.named_parameters(), merged.parameters(), strict=True)
        if not old.equal(new)
    ]
    assert any("q_proj" in name for name in moved)
    assert not any("norm" in name or "embed" in name for name in moved)
    assert (tmp_path / "runs/tiny/sft/adapter/adapter_model.safetensors").is_file()


def test_fsdp2_learns_what_ddp_learns(tmp_path):
    """Sharded policy, critic and reference; the reward model is whole in each process."""
    space = Workspace(tmp_path / "fsdp2").fill()
    sft = "sft.peft={r: 2, target_modules: all-linear}"
    for stage in ("pretrain", "sft", "reward"):
        done = launch(space, "fsdp2", stage, sft)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        assert "fp32, cpu, 2 process(es), FSDP2, learning" in done.stdout
    shutil.copytree(space.folder, tmp_path / "ddp")
    losses, weights = [], []
    for mode in ("fsdp2", "ddp"):
        space = Workspace(tmp_path / mode)
        done = launch(space, mode, "ppo", sft, "ppo.trainer.beta=0.05")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        folder = space.folder / "runs/tiny/ppo"
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses.append([line["loss"] for line in lines if "loss" in line])
        model = AutoModelForCausalLM.from_pretrained(folder / "model")
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    start = AutoModelForCausalLM.from_pretrained(folder.parent / "sft/model")
    moved = (weights[1] - torch.cat([p.detach().flatten() for p in start.parameters()])).abs().max()
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) > 1
    # the norm that clips is of policy and critic together under FSDP, and of each apart under DDP
    assert (weights[0] - weights[1]).abs().max() < 0.1 * moved


def test_a_line_that_silently_runs_one_process_is_refused(tmp_path):
    Workspace(tmp_path).fill()
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
         str(ROOT / "launch/pretrain.py"), "recipe.yaml"],
        cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "asks for 2 processes but one was started" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_deepspeed_that_would_silently_be_ddp_is_refused(monkeypatch):
    from hfllm.runs.processes import check_launch_line

    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ValueError, match="silently trains as plain DDP"):
        check_launch_line()


def test_no_process_leaves_while_the_main_one_still_works(tmp_path):
    script = tmp_path / "late.py"
    script.write_text(
        "import pathlib, sys, time, torch.distributed as dist\n"
        "import hfllm.launch as launch\n"
        "def late(step):\n"
        "    dist.init_process_group('gloo')\n"
        "    if dist.get_rank() == 0:\n"
        "        time.sleep(3)\n"
        "        pathlib.Path('manifest').write_text('done')\n"
        "launch.arguments, launch.step_named = lambda *_: (None, None), lambda *_: None\n"
        "launch.run_step = late\n"
        "launch.main('sft', [])\n"
        "assert pathlib.Path('manifest').read_text() == 'done'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
         "--master_port", "29614", str(script)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]

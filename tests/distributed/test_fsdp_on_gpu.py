"""FSDP2 launched by accelerate on one GPU: `pytest -m gpu` on a machine that has one.

One process holds all of the shards; that the weights are gathered into an ordinary folder, and what
the stages say, is the same with more.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from tiny import DROP, Workspace

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]


def test_pretrain_sft_and_ppo(tmp_path):
    stages = ("pretrain", "sft", "reward", "ppo")
    space = Workspace(tmp_path).fill()
    space.recipe({stage: {"trainer": {"use_cpu": DROP, "bf16": DROP}} for stage in stages})
    for stage in stages:
        done = subprocess.run(
            [sys.executable, "-m", "accelerate.commands.launch", "--config_file",
             str(ROOT / "configs/accelerate/fsdp2.yaml"), "--num_processes", "1",
             str(ROOT / "launch" / f"{stage}.py"), "recipe.yaml"],
            cwd=space.folder, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, stage + done.stdout[-2000:] + done.stderr[-4000:]
        assert "bf16, cuda:0, 1 process(es), FSDP2" in done.stdout
        folder = tmp_path / "runs/tiny" / stage
        assert json.loads((folder / "manifest.json").read_text())["status"] == "done"
        if stage != "reward":
            model = AutoModelForCausalLM.from_pretrained(folder / "model")
            assert all(p.numel() and p.isfinite().all() for p in model.parameters())

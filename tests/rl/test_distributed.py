"""PPO on two processes equals PPO on one: DDP, ZeRO-2 and ZeRO-3, on CPUs (30 s each)."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("run_fixed_answers.py")
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is missing")


def run(launcher, *arguments):
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, SCRIPT, *arguments]
    subprocess.run([str(x) for x in command], check=True, timeout=280, env=environment)


def saved(folder):
    policy = load_file(folder / "model.safetensors")
    return {**policy, **load_file(folder / "critic" / "model.safetensors")}


@pytest.mark.distributed
@pytest.mark.parametrize(
    "zero", ["", pytest.param("2", marks=needs_deepspeed), pytest.param("3", marks=needs_deepspeed)]
)
def test_two_processes_equal_one_with_the_same_rollout(
    policy_folder, reward_folder, tmp_path, zero
):
    folders = (policy_folder, reward_folder)
    run([], *folders, tmp_path / "one", "8")
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29577"]
    run(torchrun, *folders, tmp_path / "two", "4", *([zero] if zero else []))
    one, two = saved(tmp_path / "one.model"), saved(tmp_path / "two.model")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name], atol=2e-6, rtol=0)
    own = [torch.load(tmp_path / f"{name}.0", weights_only=True) for name in ("one", "two")]
    sharded = ["the policy is sharded: TRL's head is kept, slower on a CPU"]
    assert [x["notes"] for x in own] == [[], sharded if zero == "3" else []]
    logs = [x["log"] for x in own]
    names = ["objective/score", "objective/kl", "completions/ended", "policy/approx_kl", "loss"]
    names += ["value/loss", "value/mean", "value/explained_variance", "value/clip_ratio"]
    for left, right in zip(*logs, strict=True):
        for name in names:
            assert left.get(name, 0.0) == pytest.approx(right.get(name, 0.0), abs=1e-5), name

"""GRPO and RLOO on two processes equal one, with a group of answers that spans both (DDP, CPU)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("run_fixed_groups.py")
TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29581"]


def run(launcher, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *launcher, SCRIPT, *arguments]
    subprocess.run([str(x) for x in command], check=True, timeout=280, env=environment)


@pytest.mark.distributed
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_two_processes_equal_one_with_the_same_answers(policy_folder, tmp_path, method):
    run([], method, policy_folder, tmp_path / "one", "8")
    run(TORCHRUN, method, policy_folder, tmp_path / "two", "4")
    one, two = (load_file(tmp_path / f"{name}.model/model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name], atol=2e-6, rtol=0)
    own = [torch.load(tmp_path / f"{name}.0", weights_only=True) for name in ("one", "two")]
    assert own[0]["groups"] == own[1]["groups"] == (2, 16)
    names = ["reward", "reward_std", "kl", "loss", "rewards/missing_end/mean", "num_tokens",
             "completions/clipped_ratio", "clip_ratio/region_mean", "entropy"]  # fmt: skip
    for left, right in zip(*(x["log"] for x in own), strict=True):
        for name in names:
            assert left.get(name, 0.0) == pytest.approx(right.get(name, 0.0), abs=1e-5), name

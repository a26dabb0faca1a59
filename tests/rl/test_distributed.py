import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("run_fixed_answers.py")


@pytest.mark.distributed
def test_two_processes_equal_one_with_the_same_rollout(policy_folder, reward_folder, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    runs = {"one": ([sys.executable], 8), "two": ([*torchrun, "--master_port", "29577"], 4)}
    for name, (launcher, batch) in runs.items():
        command = [*launcher, SCRIPT, policy_folder, reward_folder, tmp_path / name, str(batch)]
        subprocess.run([str(x) for x in command], check=True, timeout=240, env={**os.environ})
    one, first, second = (
        torch.load(tmp_path / name, weights_only=True) for name in ("one.0", "two.0", "two.1")
    )
    for name, weight in one["state"].items():
        torch.testing.assert_close(weight, first["state"][name], atol=2e-6, rtol=0)
        assert torch.equal(first["state"][name], second["state"][name])
    names = ("objective/score", "objective/kl", "completions/ended", "policy/approx_kl", "loss")
    for name in (
        *names,
        "value/loss",
        "value/mean",
        "value/explained_variance",
        "value/clip_ratio",
    ):
        for row in range(4):
            left, right = (run["log"][row].get(name, 0.0) for run in (one, first))
            assert left == pytest.approx(right, abs=1e-5), name

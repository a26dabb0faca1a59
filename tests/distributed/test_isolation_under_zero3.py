"""Weights that ZeRO-3 has sharded are gathered for the trial of packed rows, and sharded again."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("isolation_under_zero3.py")
PACKED = ("llama", "gpt2", "mixtral")
APART = ("mamba", "bloom", "lfm2", "gpt_oss")


@pytest.mark.distributed
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is missing")
def test_sharded_models_are_tried_on_every_process(tmp_path):
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29583"]
    command = [sys.executable, *launcher, str(SCRIPT), str(tmp_path / "found"), *PACKED, *APART]
    subprocess.run(command, check=True, timeout=280, env=environment)
    for rank in range(2):
        found = json.loads((tmp_path / f"found.{rank}").read_text())
        assert {name: problem is None for name, problem in found.items()} == {
            **dict.fromkeys(PACKED, True),
            **dict.fromkeys(APART, False),
        }

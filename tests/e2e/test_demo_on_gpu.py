"""The shrunken demo on a GPU: `pytest -m gpu` on a machine that has one."""

import json

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_every_step_runs_there_in_bf16(demo):
    for step in ("pretrain", "sft", "reward", "ppo", "evaluate"):
        manifest = json.loads((demo.run / step / "manifest.json").read_text())
        assert manifest["status"] == "done"
        assert torch.cuda.get_device_name(0) in manifest["hardware"]["gpu"]
        assert manifest["peak_memory_gb"] > 0.01  # the GPU's, not the process's
    said = demo.type("hfllm", "status", "configs/demo.yaml").stdout
    assert "error" not in said.lower()


def test_the_model_answers_there(demo):
    done = demo.type("hfllm", "chat", "runs/demo/ppo/model", text="Who are you?\n")
    assert done.returncode == 0, done.stderr[-2000:]

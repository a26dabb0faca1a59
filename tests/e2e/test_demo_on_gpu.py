"""The shrunken demo on a GPU: `pytest -m gpu` on a machine that has one."""

import json

import pytest
import torch

pytestmark = pytest.mark.gpu


def test_every_step_runs_there_in_bf16(demo):
    for step in ("pretrain", "sft", "reward", "ppo", "evaluate"):
        manifest = json.loads((demo.run / step / "manifest.json").read_text())
        assert manifest["status"] == "done"
        assert torch.cuda.get_device_name(0) in manifest["hardware"]["gpu"]
        assert 0.005 < manifest["peak_memory_gb"] < 0.5  # the GPU's: torch alone takes more here
    log = (demo.run / "ppo" / "metrics.jsonl").read_text()
    assert '"objective/score"' in log


def test_the_model_answers_there(demo):
    done = demo.type("hfllm", "chat", "runs/demo/ppo/model", text="Who are you?\n")
    assert done.returncode == 0, done.stderr[-2000:]

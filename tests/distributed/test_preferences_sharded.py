"""DPO and KTO under ZeRO-2, ZeRO-3 and FSDP2 on two CPU processes: the weights of one process."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_launch_scripts import launch, needs_deepspeed

from tiny import TRAINER, Workspace

pytestmark = pytest.mark.distributed
DATA = {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}], "holdout": 0.2}
MODES = [
    pytest.param("zero2", marks=needs_deepspeed),
    pytest.param("zero3", marks=needs_deepspeed),
    "fsdp2",
]


def recipe(rows):
    trainer = {
        **TRAINER, "max_steps": 2, "warmup_steps": 0, "per_device_train_batch_size": rows,
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "no",
    }  # fmt: skip
    return {name: {"data": DATA, "trainer": trainer} for name in ("dpo", "kto")}


@pytest.fixture(scope="module")
def alone(finished, tmp_path_factory):
    """Both steps on one process, with batches as large as those of two."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    shutil.copytree(finished, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        space = Workspace(folder)
        space.recipe(recipe(8))
        for name in ("dpo", "kto"):
            space.run(name)
    return folder


@pytest.mark.parametrize("name", ["dpo", "kto"])
@pytest.mark.parametrize("mode", MODES)
def test_a_sharded_model_learns_what_one_process_does(alone, tmp_path, mode, name):
    shutil.copytree(alone, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "runs" / "tiny" / name)
    space = Workspace(tmp_path)
    space.recipe(recipe(4))
    done = launch(space, mode, name)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found, expected = (
        load_file(folder / "runs" / "tiny" / name / "model" / "model.safetensors")
        for folder in (tmp_path, alone)
    )
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=2e-4)
    losses = [
        [row["loss"] for row in map(json.loads, file.read_text().splitlines()) if "loss" in row]
        for file in (f / "runs" / "tiny" / name / "metrics.jsonl" for f in (tmp_path, alone))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)

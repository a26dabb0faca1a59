"""One document a row on two processes: the main one tries the model, both collate what it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import DROP, MODEL, Workspace

ROOT = Path(__file__).parents[2]
BLOOM = {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 2}


def pretrained(folder, processes):
    """The held-out loss and the notes of a pretrain step with 8 rows a step."""
    folder.mkdir()
    space = Workspace(folder).fill()
    rows = {"per_device_train_batch_size": 8 // processes}
    section = {"model": {**dict.fromkeys(MODEL, DROP), **BLOOM}, "trainer": rows}
    space.recipe({"pretrain": section})
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    subprocess.run(
        [sys.executable, *launcher, "--master_port", "29587", str(ROOT / "launch/pretrain.py"),
         "recipe.yaml"],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=280,
    )  # fmt: skip
    manifest = json.loads((folder / "runs/tiny/pretrain/manifest.json").read_text())
    return manifest["metrics"]["eval_nll_per_token"], manifest["notes"]


@pytest.mark.distributed
def test_two_processes_train_on_the_same_rows_as_one(tmp_path):
    one, notes = pretrained(tmp_path / "one", 1)
    two, same_notes = pretrained(tmp_path / "two", 2)
    assert two == pytest.approx(one, rel=1e-5)
    assert same_notes == notes and "one document a row" in notes[0]

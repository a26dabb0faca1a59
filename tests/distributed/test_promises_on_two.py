"""Claims of docs/promises.md on two processes beside one: ledger, masks, PPO that does not move."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_resume_on_others import launch

from hfllm.data.ledger import Ledger
from hfllm.runs.manifest import Manifest
from tiny import TRAINER, Workspace, base_recipe

pytestmark = pytest.mark.distributed
TRAINED = ("pretrain", "sft", "reward", "ppo")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{processes: run folder} of the same recipe; PPO's learning rates are 0."""
    top = tmp_path_factory.mktemp("promises")
    still = {**base_recipe()["ppo"]["trainer"], "learning_rate": 0.0, "critic_learning_rate": 0.0}
    space = Workspace(top / "1").fill()
    space.recipe({"ppo": {"trainer": still}, "sft": {"trainer": {**TRAINER, "max_steps": 2}}})
    shutil.copytree(space.folder, top / "2")
    for processes in (1, 2):
        launch(processes, "straight", *((name, top / str(processes)) for name in TRAINED))
    return {processes: top / str(processes) / "runs" / "tiny" for processes in (1, 2)}


def manifest(run, name) -> Manifest:
    return Manifest.read(run / name / "manifest.json")


@pytest.mark.parametrize("name", TRAINED)
def test_the_ledger_is_conserved_and_is_that_of_one_process(runs, name):
    on_one, on_two = (manifest(runs[processes], name).ledger for processes in (1, 2))
    Ledger.from_json(on_two).check()
    assert on_two == on_one and Ledger.from_json(on_two).total("kept") > 0


@pytest.mark.parametrize("name", ["pretrain", "sft"])
def test_rows_masks_and_the_bounds_of_documents_are_those_of_one_process(runs, name):
    def files(run):
        data = run / name / "data"
        return {p.relative_to(data): p.read_bytes() for p in data.rglob("*") if p.is_file()}

    assert files(runs[2]) == files(runs[1]) and len(files(runs[2])) > 0


def test_at_learning_rate_zero_ppo_moves_nothing_on_two_processes(runs):
    lines = (runs[2] / "ppo" / "metrics.jsonl").read_text().splitlines()
    kl = [row["objective/kl"] for row in map(json.loads, lines) if "objective/kl" in row]
    assert kl and max(map(abs, kl)) < 1e-5
    before, after = (load_file(runs[2] / n / "model" / "model.safetensors") for n in ("sft", "ppo"))
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_one_process_writes_the_manifest_and_every_step_is_done(runs):
    assert {manifest(runs[2], name).status for name in TRAINED} == {"done"}

"""DPO and KTO on two processes: as one process with batches twice as large; exact resume."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_resume_on_others import launch

from hfllm.runs.manifest import Manifest
from tiny import TRAINER, Workspace

pytestmark = pytest.mark.distributed
DATA = {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}], "holdout": 0.2}
LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
# a stage's step by name, besides data and the trainer's common keys
STEPS = {
    "dpo": {},
    "kto": {},
    "online": {"stage": "dpo", "trainer": {"precompute_ref_log_probs": False}},
    "adapter": {"stage": "kto", "peft": LORA, "trainer": {"precompute_ref_log_probs": False}},
}


def recipe(processes):
    common = {
        **TRAINER, "max_steps": 4, "save_steps": 2, "warmup_steps": 0,
        "per_device_train_batch_size": 8 // processes, "eval_strategy": "steps", "eval_steps": 2,
    }  # fmt: skip
    return {
        name: {**keys, "data": DATA, "trainer": common | keys.get("trainer", {})}
        for name, keys in STEPS.items()
    }


@pytest.fixture(scope="module")
def runs(finished, tmp_path_factory):
    """{1, 2: straight on so many processes, "killed": killed and resumed on two}: run folders."""
    top = tmp_path_factory.mktemp("preferences")
    for name, processes in {"1": 1, "2": 2, "killed": 2}.items():
        shutil.copytree(finished, top / name)
        Workspace(top / name).recipe(recipe(processes))
    launch(1, "straight", *((name, top / "1") for name in STEPS))
    launch(2, "straight", *((name, top / "2") for name in STEPS))
    launch(2, "killed", *((name, top / "killed") for name in STEPS))
    launch(2, "resumed", *((name, top / "killed") for name in STEPS))
    return {key: top / str(key) / "runs" / "tiny" for key in (1, 2, "killed")}


def weights(run, name):
    return load_file(run / name / "model" / "model.safetensors")


def logged(run, name):
    rows = [json.loads(line) for line in (run / name / "metrics.jsonl").read_text().splitlines()]
    keys = ("loss", "rewards/margins", "kl", "num_tokens", "eval_loss", "eval_rewards/margins")
    return [{key: row[key] for key in keys if key in row} for row in rows if "step" in row]


@pytest.mark.parametrize("name", STEPS)
def test_two_processes_are_one_with_batches_twice_as_large(runs, name):
    ours, theirs = (logged(runs[processes], name) for processes in (2, 1))
    assert len(ours) == len(theirs) > 4
    for row, other in zip(ours, theirs, strict=True):
        # five held-out pairs: TRL counts the rows again that a process repeats to have as many
        close = 1e-3 if "loss" in row else 0.05
        assert row == pytest.approx(other, rel=close, abs=1e-4)
    first, second = (weights(runs[processes], name) for processes in (2, 1))
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-3, atol=2e-4)
    one, two = (Manifest.read(runs[n] / name / "manifest.json") for n in (1, 2))
    assert one.ledger == two.ledger and one.status == two.status == "done"


@pytest.mark.parametrize("name", STEPS)
def test_a_killed_run_resumes_to_the_same_bits(runs, name):
    straight, resumed = (weights(runs[key], name) for key in (2, "killed"))
    assert all(torch.equal(resumed[key], straight[key]) for key in straight)
    notes = Manifest.read(runs["killed"] / name / "manifest.json").notes
    assert any("resuming from" in note for note in notes)
    assert logged(runs["killed"], name)[-1] == logged(runs[2], name)[-1]

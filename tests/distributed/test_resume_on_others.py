"""Every training stage, killed on two processes and resumed on two, on one and on three (gloo)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hfllm.runs.manifest import Manifest
from hfllm.runs.status import status
from hfllm.stages import find_stages
from tiny import Workspace, base_recipe

pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent
STAGES = find_stages()
TRAINING = [name for name in base_recipe() if name in STAGES and STAGES[name].trains]
STEPS = 6
SAVED_AT = 3  # PPO: inside its second rollout, of two steps each
ROWS = 8  # of a step of two processes
COUNTS = (2, 1, 3)  # processes that resume


def launch(processes: int, how: str, *pairs: tuple[str, Path]) -> str:
    """Run the steps one after the other; the output."""
    words = [str(word) for pair in pairs for word in pair]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    launcher = [*torchrun, "--master_port", "29617"] if processes > 1 else []
    path = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, *launcher, str(HERE / "run_steps.py"), how, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True, text=True, timeout=560,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """{(stage, processes): output}, and the folder of each, beside that of the straight run."""
    top = tmp_path_factory.mktemp("resume")
    space = Workspace(top / "straight").fill()
    trainer = {"max_steps": STEPS, "save_steps": SAVED_AT}
    space.recipe({name: {"trainer": trainer} for name in TRAINING})
    launch(2, "straight", *((name, space.folder) for name in TRAINING))
    for name in TRAINING:
        folder = top / f"{name}-killed"
        shutil.copytree(space.folder, folder)
        shutil.rmtree(folder / "runs" / "tiny" / name)
    launch(2, "killed", *((name, top / f"{name}-killed") for name in TRAINING))
    for name in TRAINING:
        for count in COUNTS:
            shutil.copytree(top / f"{name}-killed", top / f"{name}-{count}")
    for count in COUNTS:
        launch(count, "resumed", *((name, top / f"{name}-{count}") for name in TRAINING))
    return top


def made(folder: Path, name: str) -> tuple[Manifest, dict[str, torch.Tensor], list[int]]:
    """Manifest, weights and logged steps of a step in a folder."""
    step = folder / "runs" / "tiny" / name
    rows = [json.loads(line) for line in (step / "metrics.jsonl").read_text().splitlines()]
    manifest = Manifest.read(step / "manifest.json")
    assert manifest.status == "done"
    weights = load_file(step / "model" / "model.safetensors")
    return manifest, weights, [row["step"] for row in rows if "loss" in row]


def of_processes(manifest: Manifest) -> list[str]:
    return [note for note in manifest.notes if "process(es), this run has" in note]


@pytest.mark.parametrize("name", TRAINING)
def test_a_run_killed_on_two_processes_resumes_on_two_to_the_same_bits(resumed, name):
    straight, expected, steps = made(resumed / "straight", name)
    manifest, weights, logged = made(resumed / f"{name}-2", name)
    assert any("resuming from" in note for note in manifest.notes)
    assert of_processes(manifest) == []
    assert logged == steps == list(range(1, STEPS + 1))
    assert manifest.tokens == straight.tokens
    assert expected.keys() == weights.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", TRAINING)
def test_on_one_process_accumulation_keeps_the_rows_of_a_step(resumed, name):
    straight, expected, _ = made(resumed / "straight", name)
    manifest, weights, logged = made(resumed / f"{name}-1", name)
    (note,) = of_processes(manifest)
    assert "gradient_accumulation_steps is 2, so that a step keeps its 8 rows" in note
    assert logged == list(range(1, STEPS + 1))
    if name == "ppo":  # other answers
        assert any("its answers are sampled again" in note for note in manifest.notes)
    else:  # the same rows, added in another order
        assert manifest.tokens == straight.tokens
        for key, weight in expected.items():
            torch.testing.assert_close(weights[key], weight, atol=1e-4, rtol=0)
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize("name", TRAINING)
def test_on_three_processes_it_says_what_is_anew_and_counts_right(resumed, name):
    straight, _, _ = made(resumed / "straight", name)
    manifest, weights, logged = made(resumed / f"{name}-3", name)
    (note,) = of_processes(manifest)
    assert "the checkpoint is of 2 process(es), this run has 3" in note
    assert f"a step has 12 rows instead of {ROWS} and their order is another one" in note
    assert logged == list(range(1, STEPS + 1))
    assert all(weight.isfinite().all() for weight in weights.values())
    if name == "ppo":
        assert any("its answers are sampled again" in note for note in manifest.notes)
    else:
        done = SAVED_AT * ROWS + (STEPS - SAVED_AT) * 12
        assert manifest.tokens == pytest.approx(straight.tokens * done / (STEPS * ROWS), rel=2e-3)


@pytest.mark.parametrize("name", TRAINING)
def test_the_kill_came_between_the_checkpoint_and_the_next_step(resumed, name, monkeypatch):
    monkeypatch.chdir(resumed / f"{name}-killed")
    step = Workspace(resumed / f"{name}-killed").step(name)
    assert status(step).state == "interrupted"
    (saved,) = step.checkpoints.glob("checkpoint-*")
    assert json.loads((saved / "trainer_state.json").read_text())["global_step"] == SAVED_AT
    parts = {path.name for path in saved.glob("rollout_*")}  # of a rollout that is in use
    assert parts == ({"rollout_0.pt", "rollout_1.pt"} if name == "ppo" else set())


def test_no_stage_is_left_to_do(resumed, monkeypatch):
    for name in TRAINING:
        for count in COUNTS:
            monkeypatch.chdir(resumed / f"{name}-{count}")
            assert status(Workspace(resumed / f"{name}-{count}").step(name)).is_done

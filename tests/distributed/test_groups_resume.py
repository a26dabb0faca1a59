"""GRPO and RLOO, killed inside a rollout on two processes, resumed on two and on one (gloo)."""

import shutil

import pytest
import torch
from test_resume_on_others import SAVED_AT, STEPS, launch, made, of_processes

from tiny import TRAINER, Workspace

pytestmark = pytest.mark.distributed
NAMES = ("grpo", "rloo")
ANSWERS = {"num_generations": 2, "max_completion_length": 8, "num_iterations": 2, "beta": 0.1}


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The folder of each run beside that of the straight one."""
    top = tmp_path_factory.mktemp("groups")
    space = Workspace(top / "straight").fill()
    section = {
        "data": {"mixture": [{"path": "data/prompts.jsonl"}]},
        "reward": None,
        "reward_functions": ["hfllm.rl.rewards:length_reward"],
        "trainer": {**TRAINER, "max_steps": STEPS, "save_steps": SAVED_AT, **ANSWERS},
    }
    space.recipe(dict.fromkeys(NAMES, section))
    launch(1, "straight", ("pretrain", space.folder), ("sft", space.folder))
    launch(2, "straight", *((name, space.folder) for name in NAMES))
    for name in NAMES:
        shutil.copytree(space.folder, top / f"{name}-2")
        shutil.rmtree(top / f"{name}-2/runs/tiny" / name)
    launch(2, "killed", *((name, top / f"{name}-2") for name in NAMES))
    for name in NAMES:
        parts = {path.name for path in (top / f"{name}-2").rglob("rollout_*")}
        assert parts == {"rollout_0.pt", "rollout_1.pt"}  # of a rollout that is in use
        shutil.copytree(top / f"{name}-2", top / f"{name}-1")
    for count in (2, 1):
        launch(count, "resumed", *((name, top / f"{name}-{count}") for name in NAMES))
    return top


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_resumed_on_two_it_is_the_straight_run(resumed, name):
    straight, expected, steps = made(resumed / "straight", name)
    manifest, weights, logged = made(resumed / f"{name}-2", name)
    assert any("resuming from" in note for note in manifest.notes)
    assert logged == steps == list(range(1, STEPS + 1))
    assert manifest.tokens == straight.tokens and of_processes(manifest) == []
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", NAMES)
def test_on_one_process_it_says_what_is_anew(resumed, name):
    manifest, weights, logged = made(resumed / f"{name}-1", name)
    (note,) = of_processes(manifest)
    assert "gradient_accumulation_steps is 2, so that a step keeps its 8 rows" in note
    assert any("its answers are sampled again" in note for note in manifest.notes)
    assert logged == list(range(1, STEPS + 1))
    assert all(weight.isfinite().all() for weight in weights.values())

"""A reward function that fails in one process ends all of them with its line, without a wait."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import DROP, Workspace

pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent
REWARDS = """
import os

def on_one(completions, **_):
    return [float("nan") if os.environ["RANK"] == "1" else 1.0] * len(completions)

def featured(completions, **_):
    return [1.0] * len(completions)

def features(prefix, /, **_):
    return [1 / (1 - int(os.environ["RANK"]))]

featured.prefix_features = features
"""
WORDS = {
    "on_one": "reward function on_one gave nan (float) for row 'q",
    "featured": "prefix_features of the reward function featured failed at ",
}


@pytest.mark.parametrize("name", WORDS)
def test_the_main_process_records_the_other_ones_error(trained, name):
    space: Workspace = trained
    (space.folder / "rank_rewards.py").write_text(REWARDS)
    space.recipe({"reward": DROP, "ppo": {"reward_functions": [f"rank_rewards:{name}"]}})
    path = os.pathsep.join([str(space.folder), str(HERE), str(HERE.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
         "--master_port", "29619", str(HERE / "run_steps.py"), "straight", "ppo", space.folder],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode != 0
    manifest = json.loads((space.folder / "runs/tiny/ppo/manifest.json").read_text())
    assert (manifest["status"], WORDS[name] in manifest["error"]) == ("failed", True), done.stderr

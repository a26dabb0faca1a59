"""configs/smollm2-*.yaml shrunk: every step on the real model."""

import json
from pathlib import Path

import pytest
from test_verbs import hfllm

ROOT = Path(__file__).parents[2]
PPO = (
    "instructions.tests=4",
    "ppo.trainer.max_steps=2",
    "ppo.trainer.per_device_train_batch_size=2",
    "ppo.trainer.max_completion_length=8",
    "ppo.trainer.logging_steps=1",
    "evaluate.tasks.instructions.max_new_tokens=8",
)
PAYS = "share_of_constraints"
CPU = (
    *PPO,
    "sft.data.seq_len=256",
    "sft.data.mixture[0].limit=12",
    "sft.data.mixture[1].limit=12",
    "sft.data.heldout[0].limit=4",
    "sft.trainer.max_steps=1",
    "sft.trainer.per_device_train_batch_size=2",
    "reward.data.mixture[0].limit=20",
    "reward.trainer.max_steps=1",
    "reward.trainer.per_device_train_batch_size=2",
    "evaluate.tasks.human_preference.limit=2",
    "evaluate.tasks.hellaswag.limit=2",
    "evaluate.tasks.lambada.limit=4",
    "evaluate.tasks.blog.limit=1",
)


@pytest.fixture(scope="module")
def made(folder, data, tmp_path_factory):
    """The main recipe's run, and what its commands need to find it."""
    place = tmp_path_factory.mktemp("runs")
    words = (*CPU, f"vars.data={data}", f"vars.model={folder}", f"run_dir={place}")
    done = hfllm("run", ROOT / "configs" / "smollm2-cpu.yaml", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "smollm2-cpu", words


def rows_of(run):
    """Figures of the evaluation, and what PPO logged."""
    results = json.loads((run / "evaluate" / "results.json").read_text())["results"]
    found = {(row["model"], row["task"], row["metric"]) for row in results}
    rollouts = [json.loads(line) for line in (run / "ppo" / "metrics.jsonl").open()]
    return found, [row for row in rollouts if "objective/score" in row]


def test_every_step_runs(made):
    run, words = made
    found, rollouts = rows_of(run)
    assert {(m, "instructions", "accuracy") for m in ("SmolLM2-135M-Instruct", "ppo")} <= found
    judged = {"judge/relevance", "judge/relevant", f"judge/{PAYS}"}
    assert {f"rewards/{PAYS}/mean", *judged} <= set(rollouts[0])
    assert ("ppo", "instructions", "accuracy_relevant") in found
    critic = run / "ppo" / "model" / "critic" / "config.json"
    assert json.loads(critic.read_text())["model_type"] == "value_head"
    assert (run / "report" / "index.html").is_file()
    seed = (*words, "ppo.trainer.seed=1", "--dry-run")  # the README's other seed
    plan = hfllm("run", ROOT / "configs" / "smollm2-cpu.yaml", *seed).stdout
    assert "skip  sft " in plan and "skip  reward " in plan and " run  ppo " in plan


@pytest.mark.parametrize("recipe", ["smollm2-reward.yaml", "smollm2-hack.yaml"])
def test_other_rewards_start_from_the_same_models(made, folder, recipe):
    run, _ = made
    name = Path(recipe).stem
    more = ("evaluate.best_of=[2]",) if name == "smollm2-reward" else ()
    small = (*PPO[1:], "evaluate.tasks.instructions.limit=2", *more)
    places = (f"vars.run={run}", f"vars.model={folder}", f"run_dir={run.parent}")
    done = hfllm("run", ROOT / "configs" / recipe, *small, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    found, rollouts = rows_of(run.parent / name)
    if name == "smollm2-reward":
        assert ("sft", "instructions/best_of_2", "reward") in found
    else:  # there the judge only watches
        paid = [row for row in rollouts if f"judge/{PAYS}" in row]
        assert paid and all(row[f"judge/{PAYS}"] == row[f"rewards/{PAYS}/mean"] for row in paid)
    card = (run.parent / name / "ppo" / "model" / "README.md").read_text()
    assert "SmolLM2" in card.split("## Base model")[1].split("##")[0]  # through the other run

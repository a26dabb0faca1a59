"""configs/smollm2-*.yaml shrunk: every step on the real model."""

import json
from pathlib import Path

import pytest
from test_verbs import hfllm

ROOT = Path(__file__).parents[2]
PPO = (
    "instructions.tests=4",
    "ppo.trainer.max_steps=2",
    "ppo.trainer.per_device_train_batch_size=4",
    "ppo.trainer.max_completion_length=8",
    "ppo.trainer.logging_steps=1",
    "evaluate.tasks.instructions.max_new_tokens=8",
)
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


@pytest.mark.parametrize("name,small", [("smollm2-cpu", CPU), ("smollm2-hack", PPO)])
def test_every_step_runs(folder, data, tmp_path, name, small):
    places = (f"vars.data={data}", f"vars.model={folder}", f"run_dir={tmp_path}")
    done = hfllm("run", ROOT / "configs" / f"{name}.yaml", *small, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / name
    results = json.loads((run / "evaluate" / "results.json").read_text())["results"]
    found = {(row["model"], row["task"], row["metric"]) for row in results}
    assert {(m, "instructions", "accuracy") for m in ("SmolLM2-135M-Instruct", "ppo")} <= found
    rollouts = [json.loads(line) for line in (run / "ppo" / "metrics.jsonl").open()]
    pays = "share_of_constraints" if name == "smollm2-cpu" else "keeps_constraints"
    judged = {"judge/relevance", "judge/relevant", f"judge/{pays}"}
    assert {f"rewards/{pays}/mean", *judged} <= set(rollouts[0])
    assert ("ppo", "instructions", "accuracy_relevant") in found
    if name == "smollm2-cpu":
        seed = (*small, *places, "ppo.trainer.seed=1", "--dry-run")  # the README's other seed
        plan = hfllm("run", ROOT / "configs" / f"{name}.yaml", *seed).stdout
        assert "skip  sft " in plan and "skip  reward " in plan and " run  ppo " in plan
        then = hfllm(
            "run", ROOT / "configs" / "smollm2-reward.yaml", *PPO[1:], f"vars.run={run}",
            f"run_dir={tmp_path}", "evaluate.best_of=[2]", "evaluate.tasks.instructions.limit=2",
        )  # fmt: skip
        assert then.returncode == 0, then.stdout + then.stderr
        table = (tmp_path / "smollm2-reward" / "evaluate" / "results.json").read_text()
        assert '"instructions/best_of_2"' in table
    else:  # there the judge only watches
        paid = [row for row in rollouts if f"judge/{pays}" in row]
        assert all(row[f"judge/{pays}"] == row[f"rewards/{pays}/mean"] for row in paid)
    critic = run / "ppo" / "model" / "critic" / "config.json"
    assert json.loads(critic.read_text())["model_type"] == "value_head"
    assert (run / "report" / "index.html").is_file()

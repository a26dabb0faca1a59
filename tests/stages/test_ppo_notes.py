"""Notes that the PPO trainer makes during training are in the manifest."""

import json


def test_a_note_of_a_running_trainer_stands_in_the_manifest(trained, monkeypatch):
    monkeypatch.setattr(
        "hfllm.training.fit.fit", lambda trainer, *_: trainer.notes.append("found on the way")
    )
    pays = "ppo.reward_functions=[hfllm.rl.rewards:length_reward]"
    step = trained.run("ppo", "ppo.reward=null", pays)
    assert json.loads(step.manifest.read_text())["notes"][-1] == "found on the way"

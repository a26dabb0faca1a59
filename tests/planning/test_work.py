"""Steps and tokens of a plan are those that the training then takes."""

import pytest

from hfllm.planning.ask import Asked, plan_of
from hfllm.runs.manifest import Manifest
from tiny import DROP


def planned(workspace, name, *overrides):
    (one,) = plan_of(workspace.load(*overrides), [name], Asked()).steps
    return one


@pytest.mark.parametrize("name", ["sft", "reward", "ppo"])
def test_steps_of_epochs_are_those_of_the_training(trained, name):
    trained.recipe({name: {"trainer": {"max_steps": DROP, "num_train_epochs": 2}}})
    if name == "ppo":
        trained.run("reward")
    one = planned(trained, name)
    trained.run(name)
    manifest = Manifest.read(trained.step(name).manifest)
    assert one.work.steps == manifest.metrics["steps"]
    assert one.work.passes == 2


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward"])
def test_the_manifest_holds_the_prediction_and_tokens_agree(trained, name):
    step = trained.step(name)
    if not step.manifest.is_file():
        trained.run(name)
    manifest = Manifest.read(step.manifest)
    assert manifest.prediction["steps"] == manifest.metrics["steps"]
    assert manifest.prediction["tokens"] == pytest.approx(manifest.tokens, rel=0.1)
    assert manifest.prediction["memory_gb"] == pytest.approx(0.7, abs=0.4)
    assert sum(manifest.prediction["memory_parts"].values()) > 0


def test_an_old_manifest_without_a_prediction_is_read(trained):
    import json

    path = trained.step("sft").manifest
    raw = json.loads(path.read_text())
    del raw["prediction"]
    path.write_text(json.dumps(raw))
    assert Manifest.read(path).prediction == {}
    assert trained.load() is not None


def test_passes_over_the_data_are_said(trained):
    one = planned(trained, "pretrain")
    assert one.work.passes == pytest.approx(0.27, abs=0.01)  # as the step itself says it


def test_unknown_data_leave_the_steps_of_epochs_unknown(workspace):
    workspace.recipe({"sft": {"trainer": {"max_steps": DROP, "num_train_epochs": 2},
                              "data": {"mixture": [{"hub": "owner/chats"}]}}})  # fmt: skip
    one = planned(workspace, "sft")
    assert (one.work.steps, one.work.tokens, one.total_flops, one.seconds) == (None,) * 4
    assert one.memory is not None  # known all the same

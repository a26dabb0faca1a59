"""A probe runs a few steps apart: the run folder stays as it was, and the speed is remembered."""

import hashlib

import pytest

from hfllm.planning import ask
from hfllm.planning.ask import Asked, plan_of
from hfllm.planning.figures import Speed
from hfllm.planning.plan import here, plan_recipe
from hfllm.planning.probe import _speed
from hfllm.planning.speeds import recall, remember
from hfllm.runs.manifest import Manifest


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HFLLM_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_probe_measures_and_touches_nothing(trained):
    before = contents(trained.load().run_dir)
    (one,) = plan_of(trained.load(), ["sft"], Asked(probe=True)).steps
    assert contents(trained.load().run_dir) == before
    assert one.speed == "measured"
    assert 0 < one.step_seconds < 60
    assert one.seconds > 4 * one.step_seconds  # and what the process does besides
    assert 0.3 < one.measured_peak < 3


def test_a_remembered_speed_is_that_of_steps_like_it_alone(trained):
    recipe = trained.load()
    where = here(recipe, use_cpu=True)
    (one,) = plan_recipe(recipe, ["sft"], where, {}, Speed()).steps
    remember(one, where, Speed(step_s=0.5, startup_s=3.0))
    assert recall(one, where) == Speed(step_s=0.5, startup_s=3.0)
    (again,) = plan_of(trained.load("sft.trainer.max_steps=10"), ["sft"], Asked()).steps
    assert again.seconds == pytest.approx(3.0 + 10 * 0.5)
    bigger = trained.load("sft.trainer.per_device_train_batch_size=2")
    (other,) = plan_of(bigger, ["sft"], Asked()).steps
    assert other.step_seconds is None


def test_a_step_whose_parents_have_not_run_is_refused(workspace):
    with pytest.raises(ValueError, match="--probe: 'sft' needs 'tokenizer', which is missing"):
        plan_of(workspace.load(), ["sft"], Asked(probe=True))


def test_wrong_trainer_keys_are_told_before_anything_is_probed(workspace, monkeypatch):
    monkeypatch.setattr(ask, "probe", lambda one: pytest.fail("probed"))
    with pytest.raises(ValueError, match="max_steps"):
        plan_of(workspace.load("sft.trainer.max_steps=0"), ["sft"], Asked(probe=True))


def test_seconds_are_those_after_the_first_cycle_without_evaluations():
    manifest = Manifest("sft", "sft", "done", "f", "c", wall_s=30.0, peak_memory_gb=1.5)
    log = [{"step": 1, "loss": 1.0, "time_s": 10.0}, {"step": 2, "loss": 1.0, "time_s": 12.0},
           {"step": 3, "loss": 1.0, "time_s": 14.0},
           {"step": 3, "eval_loss": 1.0, "eval_runtime": 4.0, "time_s": 18.0}]  # fmt: skip
    found = _speed(log, manifest, cycle=1, count=3)
    assert (found.step_s, found.eval_s, found.peak) == (2.0, 4.0, 1.5)
    assert found.startup_s == 30.0 - 3 * 2.0 - 4.0

"""The trained weights depend neither on micro-batch size nor on an interruption."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from hfllm.runs.manifest import Manifest
from hfllm.runs.status import status
from hfllm.training.callbacks import MetricsLog


def weights(step):
    return {p.name: load_file(p) for p in sorted(step.model.glob("*.safetensors"))}


def same(one, other):
    assert one.keys() == other.keys()
    for name, tensors in one.items():
        assert tensors.keys() == other[name].keys()
        assert all((value == other[name][key]).all() for key, value in tensors.items()), name


def signal_at(monkeypatch, step, number=signal.SIGTERM):
    """Raise a signal in this process when that step is logged, once; the next step is its last."""
    once, log = [step], MetricsLog.on_log

    def on_log(self, args, state, control, logs=None, **kwargs):
        log(self, args, state, control, logs=logs, **kwargs)
        if state.global_step in once:
            once.clear()
            os.kill(os.getpid(), number)

    monkeypatch.setattr(MetricsLog, "on_log", on_log)


def steps_logged(step):
    rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    return [row["step"] for row in rows if "loss" in row]


@pytest.mark.parametrize("name", ["pretrain", "sft"])
def test_a_batch_of_eight_is_two_of_four_accumulated(trained, name):
    sizes = [
        (f"{name}.trainer.per_device_train_batch_size=8",),
        (
            f"{name}.trainer.per_device_train_batch_size=4",
            f"{name}.trainer.gradient_accumulation_steps=2",
        ),
    ]
    losses = []
    for overrides in sizes:
        step = trained.run(name, *overrides)
        losses.append(trained.losses(name))
        assert Manifest.read(step.manifest).metrics["steps"] == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][3] < losses[0][0]


def test_another_attention_learns_the_same(trained, monkeypatch):
    usual = trained.losses("sft")

    def never(*_, **__):
        raise AssertionError("the library's choice was taken")

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", never)
    step = trained.run("sft", "sft.attn_implementation=eager")
    assert trained.losses("sft") == pytest.approx(usual, rel=1e-4)
    assert "attn" not in (step.model / "config.json").read_text()


@pytest.mark.parametrize(
    ("name", "override"),
    [
        pytest.param("pretrain", "seed=0", marks=pytest.mark.slow),
        ("pretrain", "pretrain.optimizer=muon"),
        ("sft", "seed=0"),
    ],
)
def test_a_run_stopped_by_a_signal_goes_on_to_the_same_bits(trained, monkeypatch, name, override):
    straight = trained.run(name, override, f"{name}.trainer.max_steps=5")
    expected, losses = weights(straight), trained.losses(name)
    metrics = Manifest.read(straight.manifest).metrics
    again = (override, f"{name}.trainer.max_steps=5", f"{name}.trainer.save_steps=100")
    os.environ["HFLLM_FORCE"] = name
    signal_at(monkeypatch, 3)
    with pytest.raises(SystemExit) as caught:
        trained.run(name, *again)
    assert caught.value.code == 143
    step = trained.step(name, *again)
    assert status(step).state == "interrupted"
    assert [p.name for p in step.checkpoints.glob("checkpoint-*")] == ["checkpoint-4"]
    trained.run(name, *again)  # forced still: what is half done goes on all the same
    done = Manifest.read(step.manifest)
    assert any("resuming from" in note for note in done.notes)
    same(weights(step), expected)
    assert steps_logged(step) == [1, 2, 3, 4, 5]
    assert trained.losses(name) == losses
    assert {k: done.metrics[k] for k in metrics} == metrics
    assert not step.checkpoints.exists()


@pytest.mark.parametrize(
    "damage",
    [
        "no_optimizer",
        pytest.param("truncated", marks=pytest.mark.slow),
        pytest.param("unmarked", marks=pytest.mark.slow),
    ],
)
def test_a_broken_checkpoint_gives_way_to_the_one_before(trained, monkeypatch, damage, capsys):
    name, options = "sft", ("sft.trainer.max_steps=6",)
    expected = weights(trained.run(name, *options))
    os.environ["HFLLM_FORCE"] = name
    signal_at(monkeypatch, 4)
    with pytest.raises(SystemExit):
        trained.run(name, *options)
    step = trained.step(name, *options)
    broken = step.checkpoints / "checkpoint-5"
    assert {p.name for p in step.checkpoints.glob("c*")} == {"checkpoint-4", "checkpoint-5"}
    if damage == "truncated":
        path = broken / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no_optimizer":
        (broken / "optimizer.pt").unlink()
    else:
        (broken / "complete.json").unlink()
    capsys.readouterr()
    trained.run(name, *options)
    assert f"{broken} is not used: " in capsys.readouterr().out
    same(weights(step), expected)
    assert steps_logged(step) == [1, 2, 3, 4, 5, 6]


def test_a_signal_in_the_last_step_loses_nothing(trained, monkeypatch):
    os.environ["HFLLM_FORCE"] = "sft"
    before = weights(trained.step("sft"))
    signal_at(monkeypatch, 4)
    with pytest.raises(SystemExit):
        trained.run("sft")
    assert not (trained.step("sft").folder / "model").exists()
    same(weights(trained.run("sft")), before)


@pytest.mark.slow
def test_without_resume_it_begins_anew(trained, monkeypatch):
    os.environ["HFLLM_FORCE"] = "sft"
    before = weights(trained.step("sft"))
    signal_at(monkeypatch, 3)
    with pytest.raises(SystemExit):
        trained.run("sft")
    step = trained.run("sft", "sft.resume=false")
    assert Manifest.read(step.manifest).notes == []
    same(weights(step), before)
    assert steps_logged(step) == [1, 2, 3, 4]


def test_rows_are_packed_once_and_taken_up(trained, monkeypatch):
    os.environ["HFLLM_FORCE"] = "pretrain"
    signal_at(monkeypatch, 2)
    with pytest.raises(SystemExit):
        trained.run("pretrain")
    monkeypatch.setattr("hfllm.training.datasets.pack_texts", None)  # would be called to pack again
    trained.run("pretrain")


@pytest.mark.slow
def test_a_longer_run_begins_with_the_shorter_ones_losses(trained):
    constant = "pretrain.trainer.lr_scheduler_type=constant"
    runs = []
    for steps in (3, 5):
        trained.run("pretrain", constant, f"pretrain.trainer.max_steps={steps}")
        runs.append(trained.losses("pretrain"))
    assert runs[1][:3] == runs[0]

"""A training that diverged or learned nothing is stopped and is not done."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hfllm.launch import main
from hfllm.runs.manifest import Manifest
from hfllm.runs.status import status
from hfllm.training import finite_checks
from hfllm.training.finite_checks import check_saved_weights
from hfllm.training.schedule import short_training_lines, shorten_warmup

DIVERGES = (
    "trainer.learning_rate=1", "trainer.weight_decay=1e30", "trainer.warmup_steps=0",
    "trainer.max_steps=4",
)  # fmt: skip


def fails(capsys, stage, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(stage, ["recipe.yaml", *words])
    assert caught.value.code == 1
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("stage", ["pretrain", "sft", "reward"])
def test_a_training_that_diverges_stops_at_once_and_is_not_done(trained, capsys, stage):
    (line,) = fails(capsys, stage, *(f"{stage}.{word}" for word in DIVERGES))
    assert f"{stage}: the gradient is nan at step 2 of 4: training has diverged" in line
    assert f"lower {stage}.trainer.learning_rate (1)" in line
    folder = trained.folder / "runs/tiny" / stage
    assert json.loads((folder / "manifest.json").read_text())["status"] == "failed"
    assert not (folder / "model/model.safetensors").exists()


def test_checkpoints_from_before_are_kept_and_named(trained, capsys, monkeypatch):
    def norm(self, *args, **kwargs):
        value = original(self, *args, **kwargs)
        return value * float("nan") if self.state.global_step == 2 else value

    from transformers import Trainer

    original = Trainer._get_grad_norm
    monkeypatch.setattr(Trainer, "_get_grad_norm", norm)
    (line,) = fails(capsys, "reward", "reward.trainer.max_steps=6", "reward.trainer.save_steps=1")
    assert "nan at step 3 of 6" in line
    assert "checkpoint-2 is the last checkpoint before it" in line
    weights = load_file(
        trained.folder / "runs/tiny/reward/checkpoints/checkpoint-2/model.safetensors"
    )
    assert all(tensor.isfinite().all() for tensor in weights.values())
    step = trained.step("reward", "reward.trainer.max_steps=6", "reward.trainer.save_steps=1")
    assert status(step).state == "failed"


def test_a_critics_norm_that_is_logged_is_looked_at_too(trained):
    watched = Watched(trained.step("sft"), [1.0])
    state = watched.trainer.state
    watched.on_log(None, state, None, logs={"eval_loss": float("nan"), "loss": 1.0, "kl": None})
    for key in ("loss", "value/grad_norm", "value/loss"):
        with pytest.raises(ValueError, match=f"the {key} is inf at step 2 of 9"):
            watched.on_log(None, state, None, logs={key: float("inf")})


def test_fp16_may_skip_some_steps_but_not_all(trained):
    inf, many = float("inf"), finite_checks.MAX_SKIPPED
    Watched(trained.step("sft"), [*[inf] * many, torch.tensor(1.0), *[inf] * many], fp16=True)
    with pytest.raises(ValueError, match="is inf at step 3 of 9 in 41 steps one after the other"):
        Watched(trained.step("sft"), [inf] * (many + 1), fp16=True)
    with pytest.raises(ValueError, match="the gradient is inf at step 3 of 9: training"):
        Watched(trained.step("sft"), [inf])


def test_weights_that_are_not_finite_are_not_done(trained, capsys, monkeypatch):
    from hfllm.training import fit

    save = fit._save

    def broken(trainer, step, *rest):
        save(trainer, step, *rest)
        path = step.model / "model.safetensors"
        weights = load_file(path)
        weights["model.norm.weight"][0] = float("inf")
        save_file(weights, path, metadata={"format": "pt"})

    monkeypatch.setattr(fit, "_save", broken)
    (line,) = fails(capsys, "sft", "sft.trainer.max_steps=1")
    assert "sft: model.norm.weight in runs/tiny/sft/model/model.safetensors holds NaN" in line
    step = trained.step("sft", "sft.trainer.max_steps=1")
    assert Manifest.read(step.manifest).status == "failed"
    (step.model / "critic").mkdir()
    save_file({"w": torch.tensor([float("nan")])}, step.model / "critic/model.safetensors")
    (step.model / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="w in runs/tiny/sft/model/critic/model.safetensors"):
        check_saved_weights(step)


class Watched(finite_checks.StopWhereNotFinite):
    """What is known after some steps: their gradients, and the log, a critic's norms too."""

    def __init__(self, step, norms, history=(), fp16=False):
        self.step, self.skipped, self.seen, self.learned = step, 0, 0, 0
        self.begun = self.rated = 0
        state = type("S", (), {"global_step": 2, "max_steps": 9, "log_history": list(history)})
        args = type("Args", (), {"fp16": fp16, "learning_rate": 1.0})
        self.trainer = type("T", (), {"accelerator": None, "args": args, "state": state})
        for norm in norms:
            self.norm_of = lambda norm=norm: norm
            self._checked_norm()


@pytest.mark.parametrize(
    ("norms", "history", "fp16", "told"),
    [
        ([0.0, 0.0], [], False, True),
        ([float("inf")] * 3, [{"grad_norm": float("inf")}], True, True),
        ([0.0, 0.1], [], False, False),
        ([0.0], [{"grad_norm": 0.0, "value/grad_norm": 0.5}], False, False),
        ([0.0], [{"grad_norm": 0.5}], False, False),  # before a resume
        ([None, None], [], False, False),  # DeepSpeed before its first norm
        ([], [], False, False),  # resumed at the end
    ],
)
def test_a_gradient_that_was_0_throughout_taught_nothing(trained, norms, history, fp16, told):
    watched = Watched(trained.step("sft"), norms, history, fp16)
    if told:
        with pytest.raises(ValueError, match="sft: nothing was learned: no step had a gradient"):
            watched.check_learned()
    else:
        watched.check_learned()
    watched.trainer.state.global_step = 0
    with pytest.raises(ValueError, match="sft: not one step was trained"):
        watched.check_learned()


def test_a_training_whose_rate_was_0_throughout_taught_nothing(trained, capsys):
    one = "sft.trainer.max_steps=1"
    (line,) = fails(capsys, "sft", one, "sft.trainer.warmup_steps=1")
    assert "sft: nothing was learned: the learning rate was 0 at the only step" in line
    main("sft", ["recipe.yaml", one])  # the default warm-up is a tenth of the steps: none here
    said = capsys.readouterr().out
    assert "warning: 1 step: too little to learn from; raise max_steps, or lower" in said
    main("sft", ["recipe.yaml", one, "sft.trainer.learning_rate=0"])  # the recipe wants it


@pytest.mark.parametrize(
    ("given", "steps", "warmup", "words"),
    [({}, 1, 0, ["1 step:"]), ({}, 99, 9, []), ({}, 100, 10, []), ({}, 5000, 10, []),
     ({"warmup_steps": 30}, 20, 30, ["covers all 20 steps"])],
)  # fmt: skip
def test_a_default_warmup_is_at_most_a_tenth_of_the_steps(trained, given, steps, warmup, words):
    from transformers import TrainingArguments

    spec = trained.step("sft").spec
    spec.config.trainer = given
    args = TrainingArguments(max_steps=steps, warmup_steps=given.get("warmup_steps", 10))
    shorten_warmup(spec, args)
    assert args.warmup_steps == warmup
    lines = short_training_lines(spec, args)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))

"""The status of a step (done, missing, stale, interrupted, failed) and its reason."""

import shutil

import pytest

from hfllm.runs.record import recording
from hfllm.runs.status import recipe_statuses, status
from tiny import write_jsonl


def finish(workspace, name, *overrides):
    step = workspace.step(name, *overrides)
    with recording(step):
        (step.tokenizer if name == "tokenizer" else step.model).mkdir(parents=True, exist_ok=True)
        (step.tokenizer / "tokenizer.json").write_text(name)
    return step


def test_missing_then_done(workspace):
    assert status(workspace.step("tokenizer")).state == "missing"
    now = status(finish(workspace, "tokenizer"))
    assert now.is_done
    assert now.reason.startswith("done in 0 s, fingerprint ")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("pretrain.trainer.max_steps=9", "config changed: trainer.max_steps 4 -> 9"),
        ("pretrain.optimizer=muon", "config changed: optimizer None -> 'muon'"),
        ("seed=3", "config changed: seed 0 -> 3"),
        ("tokenizer.vocab_size=301", "parent 'tokenizer' changed"),
        ("pretrain.data.mixture[0].path=data/heldout.jsonl", "config changed: data.mixture"),
    ],
)
def test_stale_tells_what_differs(workspace, override, reason):
    finish(workspace, "tokenizer")
    finish(workspace, "pretrain")
    now = status(workspace.step("pretrain", override))
    assert now.state == "stale"
    assert now.reason.startswith(reason)


def test_a_long_list_of_changes_is_cut(workspace):
    finish(workspace, "pretrain")
    overrides = [f"pretrain.trainer.{k}=3" for k in ("max_steps", "warmup_steps", "eval_steps")]
    now = status(workspace.step("pretrain", *overrides, "pretrain.data.seq_len=32", "seed=8"))
    assert now.reason.endswith("; 2 more")


def test_a_changed_file_and_a_lost_artifact_make_it_stale(workspace):
    step = finish(workspace, "tokenizer")
    shutil.move(step.tokenizer, workspace.folder / "aside")
    now = status(step)
    assert now.state == "stale"
    assert now.reason == f"{step.folder}: its tokenizer is gone"
    shutil.move(workspace.folder / "aside", step.tokenizer)
    write_jsonl(workspace.folder / "data" / "documents.jsonl", [{"text": "other"}])
    assert status(step).reason == "a file that it reads changed"


def test_interrupted_and_failed(workspace):
    step = workspace.step("tokenizer")
    with pytest.raises(KeyboardInterrupt), recording(step):
        raise KeyboardInterrupt
    assert status(step).state == "interrupted"
    with pytest.raises(ValueError), recording(step):
        raise ValueError("no text")
    assert status(step).state == "failed"
    assert status(step).reason == "failed before: ValueError: no text"


def test_every_step_has_a_status(workspace):
    finish(workspace, "tokenizer")
    states = {name: s.state for name, s in recipe_statuses(workspace.load()).items()}
    assert states.pop("tokenizer") == "done"
    assert set(states.values()) == {"missing"}


def test_a_parent_that_came_out_different_makes_its_children_stale(workspace):
    parent = finish(workspace, "tokenizer")
    child = finish(workspace, "pretrain")
    finish(workspace, "tokenizer")  # made again, the same
    assert status(child).is_done
    with recording(parent):
        (parent.tokenizer / "tokenizer.json").write_text("another")
    now = status(child)
    assert now.state == "stale"
    assert now.reason == "'tokenizer' was made again and its tokenizer came out different"


def test_an_interrupted_step_does_not_go_on_from_another_parent(workspace):
    parent = finish(workspace, "tokenizer")
    step = workspace.step("pretrain")
    with pytest.raises(KeyboardInterrupt), recording(step):
        raise KeyboardInterrupt
    assert status(step).state == "interrupted"
    with recording(parent):
        (parent.tokenizer / "tokenizer.json").write_text("another")
    assert status(step).state == "stale"

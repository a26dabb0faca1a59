"""A manifest is written whole or not at all, and a broken one is an error of one line."""

import json
import os
import subprocess

import pytest

from hfllm.runs import manifest as module
from hfllm.runs.manifest import Manifest, git_state, library_versions, write_atomically
from hfllm.runs.record import peak_memory_gb, recording


def small(**changes):
    return Manifest(
        **{
            "step": "sft",
            "stage": "sft",
            "status": "done",
            "fingerprint": "f",
            "config_fingerprint": "c",
            **changes,
        }
    )


def test_what_is_written_is_read(tmp_path):
    written = small(metrics={"loss": 1.5}, ledger=[{"source": "a", "documents": 3}], tokens=7)
    written.write(tmp_path / "step" / "manifest.json")
    assert Manifest.read(tmp_path / "step" / "manifest.json") == written
    assert Manifest.read(tmp_path / "none.json") is None


def test_a_key_of_another_version_does_not_break_reading(tmp_path):
    path = tmp_path / "manifest.json"
    small().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_tomorrow": 1}))
    assert Manifest.read(path) == small()


@pytest.mark.parametrize("text", ["{", "", "[]", "null", '{"step": "sft"}', "\xff"])
def test_a_broken_manifest_names_file_and_remedy(tmp_path, text):
    path = tmp_path / "sft" / "manifest.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="broken manifest") as caught:
        Manifest.read(path)
    assert str(caught.value).startswith(str(path))
    assert f"delete the folder {path.parent} and run again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def crash(*_):
        raise OSError(28, "No space left on device", "file")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    monkeypatch.undo()
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_recording_tells_running_done_failed_and_interrupted_apart(workspace):
    step = workspace.step("tokenizer")
    with recording(step) as manifest:
        assert Manifest.read(step.manifest).status == "running"
        manifest.metrics["n"] = 3
    done = Manifest.read(step.manifest)
    assert (done.status, done.metrics, done.error) == ("done", {"n": 3}, None)
    with pytest.raises(ValueError, match="ill"), recording(step):
        raise ValueError("ill")
    failed = Manifest.read(step.manifest)
    assert (failed.status, failed.error) == ("failed", "ValueError: ill")
    with pytest.raises(SystemExit), recording(step):
        raise SystemExit(143)
    assert Manifest.read(step.manifest).status == "running"


def test_time_is_summed_over_interrupted_attempts_alone(workspace, monkeypatch):
    step, clock = workspace.step("tokenizer"), iter([0.0, 10.0, 0.0, 5.0, 0.0, 1.0])
    monkeypatch.setattr("hfllm.runs.record.time.monotonic", lambda: next(clock))
    with pytest.raises(SystemExit), recording(step):
        raise SystemExit(143)
    with recording(step):
        pass
    assert Manifest.read(step.manifest).wall_s == 15.0
    with recording(step):
        pass
    assert Manifest.read(step.manifest).wall_s == 1.0


def test_the_time_of_a_failed_training_counts_where_it_goes_on(workspace, monkeypatch):
    step, clock = workspace.step("tokenizer"), iter([0.0, 10.0, 0.0, 5.0, 0.0, 1.0])
    monkeypatch.setattr("hfllm.runs.record.time.monotonic", lambda: next(clock))
    for checkpoint, expected in ((True, 10.0), (False, 15.0)):
        with pytest.raises(ValueError), recording(step):
            raise ValueError("ill")
        assert Manifest.read(step.manifest).wall_s == expected
        if checkpoint:
            (step.checkpoints / "checkpoint-1").mkdir(parents=True)
        else:
            (step.checkpoints / "checkpoint-1").rmdir()
    with recording(step):
        pass
    assert Manifest.read(step.manifest).wall_s == 1.0


def test_checkpoints_go_only_when_the_step_is_written_down_as_done(workspace, monkeypatch):
    step = workspace.step("tokenizer")
    (step.checkpoints / "checkpoint-1").mkdir(parents=True)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hfllm.runs.record.record_outputs", killed)
        with pytest.raises(KeyboardInterrupt), recording(step):
            pass
    assert Manifest.read(step.manifest).status == "running"
    assert (step.checkpoints / "checkpoint-1").is_dir()
    with recording(step):
        pass
    assert not step.checkpoints.exists()


def test_another_rank_writes_nothing(workspace):
    step = workspace.step("tokenizer")
    with recording(step, is_main=False):
        assert not step.folder.exists()
    assert not step.folder.exists()


def test_versions_and_git_state_tell_what_ran(tmp_path, monkeypatch):
    versions = library_versions()
    assert {"python", "torch", "transformers", "trl"} <= set(versions)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert git_state() == {}  # no git on the machine


def test_new_files_outside_the_package_are_no_changes_of_the_code(tmp_path, monkeypatch):
    package = tmp_path / "src/hfllm/runs"
    package.mkdir(parents=True)
    code = package / "manifest.py"
    code.write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(module, "__file__", str(code))
    (tmp_path / "chats.jsonl").write_text("{}")
    assert git_state()["dirty"] is False
    (package.parent / "new.py").write_text("2")
    assert git_state()["dirty"] is True
    (package.parent / "new.py").unlink()
    code.write_text("3")
    assert git_state()["dirty"] is True


def test_a_resumed_step_keeps_its_first_start(workspace):
    step = workspace.step("tokenizer")
    with pytest.raises(KeyboardInterrupt), recording(step):
        raise KeyboardInterrupt
    first = Manifest.read(step.manifest)
    first.started = "2026-01-02T03:04:05+00:00"
    first.write(step.manifest)
    with recording(step):
        pass
    assert Manifest.read(step.manifest).started == first.started
    with recording(step):  # done: begun anew
        pass
    assert Manifest.read(step.manifest).started > first.started


def test_the_peak_is_the_cards_where_a_step_used_it(monkeypatch):
    import torch

    own = peak_memory_gb()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**30)
    assert peak_memory_gb() == 3
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)  # a tokenizer's step
    assert peak_memory_gb() >= own > 0.01

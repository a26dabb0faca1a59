"""What happens to an old step folder before the step is made anew: no finished model is lost."""

import pytest

from hfllm.runs.manifest import Manifest
from hfllm.runs.record import recording
from hfllm.runs.set_aside import restore, set_aside
from hfllm.runs.status import status


def finish(workspace, size, text="weights"):
    step = workspace.step("tokenizer", f"tokenizer.vocab_size={size}")
    with recording(step):
        step.tokenizer.mkdir(parents=True, exist_ok=True)
        (step.tokenizer / "tokenizer.json").write_text(text)
    return step


def fail(workspace, size, checkpoint=False, error=ValueError):
    step = workspace.step("tokenizer", f"tokenizer.vocab_size={size}")
    with pytest.raises(error), recording(step):
        if checkpoint:
            (step.checkpoints / "checkpoint-3").mkdir(parents=True)
        raise error("ill")
    return step


def names(workspace):
    return sorted(p.name for p in (workspace.folder / "runs/tiny").iterdir())


def mark(step):
    return Manifest.read(step.manifest).fingerprint


def test_the_newest_finished_copy_is_kept(workspace):
    assert set_aside(workspace.step("tokenizer")) == "there is no old one"
    for size in (300, 301, 302):
        step = finish(workspace, size)
        target = step.folder.with_name(f"tokenizer.stale-{mark(step)}")
        assert set_aside(step) == f"the old one is in {target}"
        assert not step.folder.exists()
    assert names(workspace) == [target.name]
    assert (target / "tokenizer/tokenizer.json").is_file()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_failed_attempts_displace_no_finished_copy(workspace, error, checkpoint):
    good = finish(workspace, 300)
    copy = f"tokenizer.stale-{mark(good)}"
    set_aside(good)
    for size in (301, 302, 303):
        told = set_aside(fail(workspace, size, checkpoint, error))
        assert f"the last finished one stays in runs/tiny/{copy}" in told
    assert copy in names(workspace)
    # of the unfinished ones the newest is kept, if it has checkpoints to look into
    assert len(names(workspace)) == (2 if checkpoint else 1)


def test_a_finished_folder_that_lost_a_file_displaces_no_whole_one(workspace):
    good = finish(workspace, 300)
    copy = f"tokenizer.stale-{mark(good)}"
    set_aside(good)
    step = finish(workspace, 301)
    (step.tokenizer / "tokenizer.json").unlink()
    damaged = f"tokenizer.unfinished-{mark(step)}"
    set_aside(step)
    assert names(workspace) == [copy, damaged]


def test_going_back_to_the_old_keys_puts_the_finished_copy_back(workspace):
    good = finish(workspace, 300, "good")
    set_aside(good)
    fail(workspace, 301)
    assert status(good).state == "stale"
    assert restore(good).name == f"tokenizer.stale-{mark(good)}"
    assert status(good).is_done
    assert (good.tokenizer / "tokenizer.json").read_text() == "good"
    assert names(workspace) == ["tokenizer"]


def test_a_copy_changes_place_with_a_finished_folder_and_back(workspace):
    first = finish(workspace, 300, "first")
    set_aside(first)
    second = finish(workspace, 301, "second")
    for step, text in ((first, "first"), (second, "second"), (first, "first")):
        assert restore(step)
        assert (step.tokenizer / "tokenizer.json").read_text() == text
        assert len(names(workspace)) == 2


def test_nothing_is_put_back_over_what_is_done_interrupted_or_missing(workspace):
    good = finish(workspace, 300)
    set_aside(good)
    assert restore(good) is None  # missing: somebody removed it to have it made anew
    finish(workspace, 300)
    assert restore(good) is None
    fail(workspace, 300, error=KeyboardInterrupt)
    assert restore(good) is None  # it resumes from its checkpoints
    finish(workspace, 301)
    assert restore(workspace.step("tokenizer", "tokenizer.vocab_size=302")) is None


def test_a_link_is_renamed_or_unlinked_and_what_it_points_to_stays(workspace):
    outside = workspace.folder / "big-disk"
    step = workspace.step("tokenizer")
    outside.mkdir()
    step.folder.parent.mkdir(parents=True)
    step.folder.symlink_to(outside)
    finish(workspace, 300)
    set_aside(workspace.step("tokenizer"))
    finish(workspace, 301)
    set_aside(step)  # the link was the older copy
    assert (outside / "tokenizer/tokenizer.json").is_file()
    step.folder.symlink_to(outside)
    (outside / "manifest.json").unlink()
    set_aside(step)
    assert (outside / "tokenizer/tokenizer.json").is_file() and not step.folder.exists()


def test_nothing_outside_the_run_folder_is_removed(workspace):
    step = workspace.step("tokenizer")
    for name in ("../precious", "", ".", "..", "tokenizer/../../precious"):
        step.spec.name = name
        step.__dict__.pop("folder", None)
        precious = workspace.folder / "runs/precious/keep.txt"
        precious.parent.mkdir(parents=True, exist_ok=True)
        precious.write_text("x")
        with pytest.raises((AssertionError, ValueError)):
            set_aside(step)
        assert precious.is_file()


@pytest.mark.parametrize("old_is_there", [True, False])
def test_a_copy_whose_restore_was_killed_is_found_again(workspace, old_is_there):
    good = finish(workspace, 300, "good")
    good.folder.rename(good.folder.with_name(f"tokenizer.restoring-{mark(good)}"))
    if old_is_there:
        fail(workspace, 301)
    assert restore(good).name == f"tokenizer.stale-{mark(good)}" and status(good).is_done
    assert (good.tokenizer / "tokenizer.json").read_text() == "good"
    assert names(workspace) == ["tokenizer"]

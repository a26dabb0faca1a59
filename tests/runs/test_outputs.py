"""What a finished step wrote is found changed, byte for byte, and a copy of it is not."""

import json
import os
import shutil

import pytest

from hfllm import launch
from hfllm.runs.fingerprint import file_digest
from hfllm.runs.manifest import Manifest
from hfllm.runs.outputs import artifact_fingerprints
from hfllm.runs.pipeline import plan
from hfllm.runs.record import recording
from hfllm.runs.set_aside import set_aside
from hfllm.runs.status import status

FILES = {
    "model/model.safetensors": "weights",
    "model/config.json": "{}",
    "model/critic/model.safetensors": "values",
    "model/tokenizer.json": "tokens",
    "model/chat_template.jinja": "template",
    "adapter/adapter_model.safetensors": "a",
    "data/heldout.jsonl": "{}",
    "data/train/part-0.jsonl": "rows",
    "results.json": "{}",
    "samples.jsonl": "{}",
    "items.jsonl": "{}",
}


def finish(workspace, name="pretrain", files=FILES):
    step = workspace.step(name)
    with recording(step):
        for file, text in files.items():
            (step.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (step.folder / file).write_text(text)
    return step


@pytest.fixture()
def parents(workspace):
    """sft's parents, finished: pretrain, and the tokenizer behind it."""
    finish(workspace, "tokenizer", {"tokenizer/tokenizer.json": "tokens"})
    return finish(workspace)


def flip(path, keep_time=False):
    """Change one byte of a file, not its size; with the file's old times or ones of their own."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    later = 0 if keep_time else 1
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_makes_a_finished_step_stale_and_names_the_file(workspace, name):
    step = finish(workspace)
    assert status(step).is_done
    flip(step.folder / name)
    now = status(step)
    assert now.state == "stale"
    assert now.reason == f"{step.folder}: its {name} has other bytes than were written"
    flip(step.folder / name)
    assert status(step).is_done  # put back, at another time


def test_a_run_makes_the_changed_step_again_and_keeps_the_old_folder(workspace, parents):
    flip(parents.folder / "model/model.safetensors")
    actions = {item.step.name: item.action for item in plan(workspace.load())}
    assert (actions["tokenizer"], actions["pretrain"]) == ("skip", "run")
    assert "not whole, is in runs/tiny/pretrain.unfinished-" in set_aside(parents)


def test_a_copy_of_a_run_is_as_good_as_the_run(workspace):
    step = finish(workspace)
    copy = step.folder.with_name("copy")
    shutil.copytree(step.folder, copy, copy_function=shutil.copyfile)
    shutil.rmtree(step.folder)
    copy.rename(step.folder)
    for name in FILES:
        os.utime(step.folder / name)
    assert status(step).is_done


def test_a_file_with_its_size_and_time_is_not_read(workspace, monkeypatch):
    step = finish(workspace)
    read = []
    monkeypatch.setattr("hfllm.runs.outputs.known_digest", lambda path: read.append(path) or "")
    assert status(step).is_done and not read
    os.utime(step.model / "config.json")
    assert not status(step).is_done and read == [step.model / "config.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_child_compares_every_byte_of_its_parents(workspace, parents, name):
    child = workspace.step("sft")
    launch.prepare_parents(child)
    flip(parents.folder / name, keep_time=True)
    assert status(parents).is_done  # by size and time
    with pytest.raises(ValueError) as caught:
        launch.prepare_parents(child)
    assert str(caught.value) == (
        f"sft: its parent 'pretrain', {parents.folder}: {name} has other bytes than were written; "
        "put the file back, or make the step again: `hfllm run recipe.yaml --only pretrain`"
    )
    assert "not whole" in set_aside(parents)


def test_every_file_that_a_finished_step_wrote_is_looked_for(workspace):
    step = finish(workspace)
    (step.model / "README.md").write_text("the report writes a card")
    assert status(step).is_done
    for name, text in FILES.items():
        path = step.folder / name
        path.unlink()
        assert status(step).reason == f"{step.folder}: its {name} is gone"
        path.write_text(text + "xy")
        sizes = f"{len(text) + 2} bytes, {len(text)} were written"
        assert status(step).reason == f"{step.folder}: its {name} has {sizes}"
        assert status(step).state == "stale"
        path.write_text(text)
        assert status(step).is_done


def test_results_are_an_artifact_and_samples_of_a_training_are_not(workspace):
    step = finish(workspace, files={"model/config.json": "{}", "samples.jsonl": "{}"})
    flip(step.folder / "samples.jsonl")
    assert status(step).is_done
    step = finish(workspace, files={"results.json": "{}"})
    (step.folder / "results.json").unlink()
    assert status(step).reason == f"{step.folder}: its results.json is gone"


def test_a_page_is_missed_and_may_be_written_again(workspace):
    workspace.write("report: {}\n")
    step = finish(workspace, "report", {"index.html": "page"})
    (step.folder / "index.html").write_text("the page of a later day")
    assert status(step).is_done
    (step.folder / "index.html").unlink()
    assert status(step).reason == f"{step.folder}: its index.html is gone"


def as_former(step, *lists):
    """The manifest as a version wrote it that recorded less of each file."""
    raw = json.loads(step.manifest.read_text())
    step.manifest.write_text(json.dumps({k: v for k, v in raw.items() if k not in lists}))


@pytest.mark.parametrize("lists", [("digests", "mtimes_ns"), ("digests", "mtimes_ns", "files")])
def test_a_step_of_a_former_version_stays_done_and_its_child_compares_its_kinds(
    workspace, parents, lists
):
    as_former(parents, *lists)
    assert status(parents).is_done
    launch.prepare_parents(workspace.step("sft"))
    flip(parents.model / "config.json")  # no kind of artifact, so unknown to that version
    launch.prepare_parents(workspace.step("sft"))
    flip(parents.model / "model.safetensors")
    assert status(parents).is_done
    with pytest.raises(ValueError, match="'pretrain', .*: model has other bytes than were written"):
        launch.prepare_parents(workspace.step("sft"))


def test_a_later_version_writes_down_what_it_found(workspace):
    step = finish(workspace)
    manifest = Manifest.read(step.manifest)
    assert set(manifest.files) == set(manifest.digests) == set(manifest.mtimes_ns) == set(FILES)
    for name, text in FILES.items():
        path = step.folder / name
        assert manifest.files[name] == len(text)
        assert manifest.digests[name] == file_digest(path)
        assert manifest.mtimes_ns[name] == path.stat().st_mtime_ns


def test_artifacts_are_hashed_whole(tmp_path):
    files = {
        "model/model.safetensors": "weights",
        "model/tokenizer.json": "tokens",
        "model/chat_template.jinja": "template",
        "data/train/a.bin": "rows",
        "data/train/b.bin": "more",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    first = artifact_fingerprints(tmp_path)
    assert set(first) == {"model", "tokenizer", "chat_template", "data"}
    assert first["tokenizer"] == file_digest(tmp_path / "model/tokenizer.json")
    (tmp_path / "data/train/b.bin").write_text("MORE")
    second = artifact_fingerprints(tmp_path)
    assert {k for k in first if first[k] != second[k]} == {"data"}

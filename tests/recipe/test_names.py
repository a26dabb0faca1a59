"""Names that become folders: they stay in the run folder, and are refused in one line."""

from pathlib import Path

import pytest

from hfllm.recipe.errors import RecipeError

BAD = ["../escape", "/tmp/escape", ".", "..", "a/b", "a\\b", "a\0b", "a b", "a.b", "x" * 101, "",
       "~", "-x", "a*", "[ab]", "a\nb", "sft.stale-0"]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_steps_name_cannot_leave_the_run_folder(workspace, name):
    workspace.recipe({name: {"stage": "sft", "init": "pretrain"}})
    with pytest.raises(RecipeError) as caught:
        workspace.load()
    (line,) = caught.value.problems
    assert "a step's name" in line and "\n" not in line and "\0" not in line


@pytest.mark.parametrize("key", ["12", "true", "no", "1.5"])
def test_a_name_that_yaml_does_not_read_as_text_is_told(workspace, key):
    text = workspace.path.read_text()
    workspace.write(f"{text}\n{key}: {{stage: sft}}\n")
    with pytest.raises(RecipeError) as caught:
        workspace.load()
    (line,) = caught.value.problems
    assert "quote it" in line


@pytest.mark.parametrize("name", ["sft2", "sft-long_1", "début", "_x", "x" * 100])
def test_plain_names_are_accepted(workspace, name):
    workspace.recipe(
        {name: {"stage": "sft", "init": "pretrain", "data": {"mixture": [{"path": "x"}]}}}
    )
    assert workspace.step(name).folder == Path("runs/tiny") / name


def test_names_that_differ_only_in_case_are_refused(workspace):
    workspace.recipe({"SFT": {"stage": "sft", "init": "pretrain", "data": {"mixture": []}}})
    with pytest.raises(RecipeError, match="SFT: differs from the step 'sft' only in case"):
        workspace.load()


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "~", "a\0b", "x" * 101, True, [1]])
def test_the_runs_name_is_a_plain_folder_name(workspace, name):
    workspace.recipe({"name": name})
    with pytest.raises(RecipeError) as caught:
        workspace.load()
    (line,) = caught.value.problems
    assert line.startswith("name: ")


@pytest.mark.parametrize("run_dir", ["", " ", "a\0b", 3, False, ["x"], "~no-such-user/x"])
def test_the_run_folder_is_a_path(workspace, run_dir):
    workspace.recipe({"run_dir": run_dir})
    with pytest.raises(RecipeError) as caught:
        workspace.load()
    (line,) = caught.value.problems
    assert line.startswith("run_dir: ")


def test_home_brackets_and_links_in_the_run_folder(workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert workspace.load("run_dir=~/runs").run_dir == tmp_path / "home/runs/tiny"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for place in ("my [runs]*", "link"):
        step = workspace.run("tokenizer", f"run_dir={place}")
        assert step.folder == Path(place) / "tiny/tokenizer"
        assert (step.tokenizer / "tokenizer.json").is_file()
    assert (tmp_path / "real/tiny/tokenizer/manifest.json").is_file()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "x", True])
def test_a_seed_is_one_that_every_library_takes(workspace, seed):
    workspace.recipe({"seed": seed})
    with pytest.raises(RecipeError, match="seed: .* is not a whole number from 0"):
        workspace.load()

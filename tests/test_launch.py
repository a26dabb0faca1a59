"""`launch/*.py`: parents, ranks and signals around a stage's run."""

import os
import time

import pytest

from hfllm import launch
from hfllm.launch import main, wait_for_parents
from hfllm.runs.manifest import Manifest
from hfllm.runs.record import recording
from hfllm.runs.status import status
from tiny import write_jsonl


@pytest.fixture(autouse=True)
def no_git(monkeypatch):
    monkeypatch.setattr("hfllm.runs.record.git_state", dict)


def finish(step):
    with recording(step):
        pass


def fail(step):
    with pytest.raises(ValueError), recording(step):
        raise ValueError("ill")


@pytest.fixture()
def meanwhile(monkeypatch):
    """What the main process does while another rank sleeps for the first time."""

    def meanwhile(action, step):
        todo = [lambda: action(step)]
        monkeypatch.setattr(launch.time, "sleep", lambda _: todo.pop()() if todo else None)

    return meanwhile


def test_other_ranks_wait_until_the_main_process_has_made_the_data(workspace, meanwhile):
    meanwhile(finish, workspace.step("tokenizer"))
    wait_for_parents(workspace.step("pretrain"))
    assert status(workspace.step("tokenizer")).is_done


def test_they_give_up_where_the_main_process_fails(workspace, meanwhile):
    meanwhile(fail, workspace.step("tokenizer"))
    with pytest.raises(ValueError, match="pretrain: its parent 'tokenizer' is failed"):
        wait_for_parents(workspace.step("pretrain"))


def test_a_failure_of_an_earlier_start_is_not_this_ones(workspace, meanwhile):
    fail(workspace.step("tokenizer"))
    long_ago = time.time() - 100
    os.utime(workspace.step("tokenizer").manifest, (long_ago, long_ago))
    meanwhile(finish, workspace.step("tokenizer"))
    wait_for_parents(workspace.step("pretrain"))


def test_they_do_not_wait_for_a_model_nor_for_ever(workspace):
    finish(workspace.step("tokenizer"))
    with pytest.raises(ValueError, match="sft: its parent 'pretrain' is missing"):
        wait_for_parents(workspace.step("sft"))
    with pytest.raises(ValueError, match="waited 0 s for 'tokenizer'"):
        wait_for_parents(workspace.step("pretrain", "seed=5"), poll_s=0.01, timeout_s=0.05)


def test_another_rank_is_silent_and_takes_no_lock(workspace, monkeypatch, capsys):
    finish(workspace.step("tokenizer"))
    ran = []
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(launch, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(launch, "_run_stage", lambda step: ran.append(step.name))
    main("pretrain", ["recipe.yaml"])
    assert ran == ["pretrain"]
    assert not (workspace.folder / "runs" / "tiny" / ".lock").exists()
    with pytest.raises(SystemExit):
        main("sft", ["recipe.yaml", "sft.dta=1"])
    assert capsys.readouterr().err == ""


def test_what_fails_on_another_rank_alone_is_told_with_its_rank(workspace, monkeypatch, capsys):
    finish(workspace.step("tokenizer"))
    step = workspace.step("pretrain")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(launch, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(launch.time, "sleep", lambda _: None)

    def ill(_):
        raise ValueError("a reward function says no\nand more")

    monkeypatch.setattr(launch, "_run_stage", ill)
    with pytest.raises(SystemExit):
        main("pretrain", ["recipe.yaml"])
    assert capsys.readouterr().err == "error: process 1: a reward function says no\n"

    def ill_everywhere(_):  # the main process has written it down by then
        fail(step)
        ill(_)

    monkeypatch.setattr(launch, "_run_stage", ill_everywhere)
    with pytest.raises(SystemExit):
        main("pretrain", ["recipe.yaml"])
    assert capsys.readouterr().err == ""


def test_a_failed_step_that_is_asked_for_again_keeps_its_checkpoints(workspace, monkeypatch):
    step = workspace.step("tokenizer")
    fail(step)
    (step.checkpoints / "checkpoint-3").mkdir(parents=True)
    monkeypatch.setenv("HFLLM_FORCE", "tokenizer")
    monkeypatch.setattr(launch, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(launch, "_run_stage", lambda _: None)
    main("tokenizer", ["recipe.yaml"])
    assert (step.checkpoints / "checkpoint-3").is_dir()
    finish(step)
    main("tokenizer", ["recipe.yaml"])
    assert not step.folder.exists()  # a finished one is set aside, to be made anew


def test_help_names_the_stage(capsys):
    main("sft", ["--help"])
    out = capsys.readouterr().out
    assert "usage: accelerate launch launch/sft.py RECIPE [--step NAME] [step.key=value ...]" in out
    assert "accelerate launch launch/sft.py RECIPE" in out


@pytest.mark.parametrize("stage", ["sft", None])
@pytest.mark.parametrize("words", [[], ["seed=1"]])
def test_without_a_recipe_nothing_starts(workspace, monkeypatch, capsys, stage, words):
    monkeypatch.setattr(launch, "run_step", lambda step: pytest.fail("it started"))
    with pytest.raises(SystemExit) as caught:
        main(stage, words)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: usage: accelerate launch launch/{stage or 'stage'}.py RECIPE")


def test_a_step_ends_with_what_was_made_and_where(workspace, capsys):
    main("tokenizer", ["recipe.yaml"])
    last = capsys.readouterr().out.splitlines()[-1]
    manifest = Manifest.read(workspace.step("tokenizer").manifest)
    assert last.startswith(f"tokenizer: done in {manifest.wall_s:.0f} s, ")
    assert last.endswith("; runs/tiny/tokenizer/tokenizer")
    main("tokenizer", ["recipe.yaml"])
    assert capsys.readouterr().out.endswith("nothing to do; runs/tiny/tokenizer/tokenizer\n")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ValueError("x"), 1)])
def test_exit_codes(workspace, monkeypatch, capsys, error, code):
    def run(step):
        raise error

    monkeypatch.setattr(launch, "run_step", run)
    with pytest.raises(SystemExit) as caught:
        main("sft", ["recipe.yaml"])
    assert caught.value.code == code
    assert capsys.readouterr().err.startswith("error: ")


def test_a_typo_in_hfllm_slow_is_told_before_the_step_starts(workspace, monkeypatch, capsys):
    monkeypatch.setenv("HFLLM_SLOW", "unpad,decodign")
    monkeypatch.setattr(launch, "preflight", lambda *_: pytest.fail("the typo is found first"))
    with pytest.raises(SystemExit):
        main("tokenizer", ["recipe.yaml"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: HFLLM_SLOW: 'decodign' is no fast path")
    assert line.endswith("Did you mean: 'decoding'?")
    assert not workspace.step("tokenizer").folder.exists()


@pytest.mark.parametrize(
    "value,notes",
    [
        ("", []),
        ("unpad, decoding", ["HFLLM_SLOW: fast paths switched off: unpad, decoding"]),
        ("all", ["HFLLM_SLOW: fast paths switched off: all"]),
    ],
)
def test_switched_off_fast_paths_are_in_the_manifest(workspace, monkeypatch, value, notes):
    monkeypatch.setenv("HFLLM_SLOW", value)
    main("tokenizer", ["recipe.yaml"])
    manifest = Manifest.read(workspace.step("tokenizer").manifest)
    assert (manifest.status, manifest.notes) == ("done", notes)


def test_a_ledger_that_does_not_hold_fails_the_step(workspace, monkeypatch):
    from hfllm.stages import tokenizer

    def run(config, step, manifest):
        manifest.ledger = [
            {"source": "web", "bucket": "in", "documents": 2, "tokens": 0, "bytes": 0},
            {"source": "web", "bucket": "kept", "documents": 1, "tokens": 0, "bytes": 0},
        ]

    monkeypatch.setattr(tokenizer, "run", run)
    with pytest.raises(SystemExit):
        main("tokenizer", ["recipe.yaml"])
    found = Manifest.read(workspace.step("tokenizer").manifest)
    assert found.status == "failed" and "2 documents in, but kept + dropped" in found.error


def test_a_launch_by_hand_reads_its_rows_before_the_old_step_is_moved(trained, capsys):
    before = sorted(p.name for p in (trained.folder / "runs/tiny").iterdir())
    write_jsonl(trained.folder / "data/chats.jsonl", [{"text": "no chat"}] * 9)
    for _ in range(2):
        with pytest.raises(SystemExit):
            main("sft", ["recipe.yaml"])
        assert "data/chats.jsonl:1" in capsys.readouterr().err
    assert sorted(p.name for p in (trained.folder / "runs/tiny").iterdir()) == before
    assert Manifest.read(trained.step("sft").manifest).status == "done"


def test_another_rank_leaves_the_main_process_the_time_to_say_its_line(monkeypatch, capsys):
    """Torchrun ends all when one ends: the error was lost where rank 1 came to it first."""
    slept = []
    monkeypatch.setattr(launch.time, "sleep", slept.append)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit):
            launch._fail("recipe.yaml: wrong", 1)
    assert slept == [launch.MAIN_SPEAKS_WITHIN_S]
    assert capsys.readouterr().err == "error: recipe.yaml: wrong\n"

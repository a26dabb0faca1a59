"""Training resumes from complete checkpoints only."""

import json

import pytest

from hfllm.runs.checkpoints import (
    MARKER,
    mark_complete,
    newest_complete,
    remove_incomplete,
    step_of,
    why_incomplete,
)


def checkpoint(folder, step, whole=True):
    place = folder / f"checkpoint-{step}"
    (place / "deep").mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "deep/rank0.bin"):
        (place / name).write_bytes(b"x" * 100)
    if whole:
        mark_complete(place)
    return place


def truncate(place):
    (place / "model.safetensors").write_bytes(b"x" * 60)


def lose(place):
    (place / "optimizer.pt").unlink()


def unmark(place):
    (place / MARKER).unlink()


def smear(place):
    (place / MARKER).write_text('{"model.saf')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "model.safetensors has 60 bytes, 100 were written"),
        (lose, "optimizer.pt is missing"),
        (unmark, "it was interrupted while it was written"),
        (smear, "its complete.json is broken"),
    ],
)
def test_the_one_before_is_taken_and_the_reason_told(tmp_path, damage, words):
    older, newer = checkpoint(tmp_path, 90), checkpoint(tmp_path, 100)
    assert newest_complete(tmp_path) == (newer, [])
    damage(newer)
    found, notes = newest_complete(tmp_path)
    assert found == older
    assert notes == [f"{newer} is not used: {words}"]
    remove_incomplete(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-90"]


def test_the_number_counts_and_not_the_name(tmp_path):
    for step in (9, 10, 100):
        checkpoint(tmp_path, step)
    assert step_of(newest_complete(tmp_path)[0]) == 100
    assert step_of(tmp_path / "checkpoint-final") == -1


def test_where_none_is_whole_there_is_none(tmp_path):
    checkpoint(tmp_path, 5, whole=False)
    found, notes = newest_complete(tmp_path)
    assert found is None
    assert len(notes) == 1
    assert newest_complete(tmp_path / "nothing") == (None, [])


def test_the_marker_lists_every_file(tmp_path):
    place = checkpoint(tmp_path, 5)
    listed = json.loads((place / MARKER).read_text())
    assert listed == {"model.safetensors": 100, "optimizer.pt": 100, "deep/rank0.bin": 100}
    (place / "extra").write_text("")  # what somebody adds later does no harm
    assert why_incomplete(place) is None

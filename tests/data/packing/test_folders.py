"""Folders of packed sources: one source one folder, whatever it is called."""

import itertools

import pytest

from hfllm.data.packing.folders import check_folders, folder_name, folder_problems

NAMES = ("web", "my set", "my/set", "my_set", "..", ".", "/", "ledger.json", "a" * 300, "ü" * 200)


@pytest.mark.parametrize("name", [*NAMES, "a" * 300 + "b", "Web", "gsm8k/main"])
def test_every_name_gives_a_folder_of_its_own_inside(name, tmp_path):
    folder = tmp_path / folder_name(name)
    folder.mkdir()
    assert folder.parent == tmp_path and [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert folder.name not in ("ledger.json", ".", "..")


def test_ordinary_names_stay_as_they_are():
    """A new name would be another order of the rows (data/packing/mixture.py)."""
    assert [folder_name(n) for n in ("web", "a.b-c_d", "gsm8k/main", "Übung 1")] == [
        "web", "a.b-c_d", "gsm8k_main", "Übung_1"
    ]  # fmt: skip


def test_names_that_share_a_folder_are_refused_and_no_others():
    for one, two in itertools.combinations(NAMES, 2):
        shared = {one, two} <= {"my set", "my/set", "my_set"}
        assert bool(folder_problems([one, two])) == shared, (one, two)
        assert not folder_problems([one, two], packed=False)
    line = "sources 'Web' and 'web' would be packed into one folder"
    with pytest.raises(ValueError, match=f"sft.data.heldout: {line} \\(web\\); give one of them"):
        check_folders("sft.data.heldout", ["Web", "x", "web"])
    assert folder_problems(["x", "x"]) == ["two sources are called 'x'; give them a `name:`"]
    assert folder_problems(["x", "x"], packed=False) == folder_problems(["x", "x"])

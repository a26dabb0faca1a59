"""Generated files: deterministic, independent of each other's counts, sizes as configured."""

import subprocess
import sys
from dataclasses import replace

import pytest

from hfllm.world.config import WorldConfig
from hfllm.world.generate import generate_world

SMALL = WorldConfig(people=6, strangers=8, documents=60, chats=30, pairs=20, prompts=20, tests=10)


def _bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.jsonl")}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    generate_world(SMALL, 3, tmp_path / "a")
    generate_world(SMALL, 3, tmp_path / "b")
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def test_the_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from hfllm.world.generate import generate_world\n"
        "config = SimpleNamespace(seed=None, people=6, strangers=8, documents=60, chats=30,"
        " pairs=20, prompts=20, tests=10)\n"
        "generate_world(config, 3, Path(sys.argv[1]))"
    )
    for hash_seed in ("1", "2"):
        env = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        folder = tmp_path / hash_seed
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=env)
    assert _bytes(tmp_path / "1") == _bytes(tmp_path / "2")


def test_another_seed_gives_other_people(tmp_path):
    generate_world(SMALL, 3, tmp_path / "a")
    generate_world(SMALL, 4, tmp_path / "b")
    generate_world(replace(SMALL, seed=3), 4, tmp_path / "c")
    people = [(tmp_path / name / "people.jsonl").read_text() for name in "abc"]
    assert people[0] != people[1]
    assert people[0] == people[2]  # config.seed comes before the recipe's


def test_a_count_changes_its_own_file_alone(tmp_path):
    generate_world(SMALL, 3, tmp_path / "a")
    generate_world(replace(SMALL, chats=40), 3, tmp_path / "b")
    a, b = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} == {"chats_train.jsonl"}


def test_sizes_are_those_of_the_config(world_files):
    config = WorldConfig()
    counts = world_files.counts
    assert counts["people.jsonl"] == config.people + config.strangers
    assert counts["web.jsonl"] == config.documents
    assert counts["chats_train.jsonl"] == config.chats
    assert counts["pairs_train.jsonl"] == config.pairs
    assert counts["prompts_train.jsonl"] == config.prompts
    tests = {name: n for name, n in counts.items() if name.startswith("tests/")}
    assert len(tests) == 5 and set(tests.values()) == {config.tests}
    assert 140 <= counts["heldout_text.jsonl"] <= 150
    assert all(len(world_files.rows(name)) == n for name, n in counts.items())


def test_ids_are_unique_within_a_file(world_files):
    for name in world_files.counts:
        ids = [row["id"] for row in world_files.rows(name)]
        assert len(ids) == len(set(ids)), name


def test_too_many_people_is_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match="only 1600 names: lower one of them"):
        generate_world(replace(SMALL, people=1000, strangers=1000), 0, tmp_path)


def test_importing_the_world_imports_nothing_heavy():
    code = (
        "import sys, hfllm.world.generate; "
        "heavy = {'torch', 'transformers', 'omegaconf', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)

"""Preference pairs: length alone does not decide, each kind prefers what it should."""

from collections import Counter

import pytest

from hfllm.evaluation.graders import is_refusal
from hfllm.world.pairs import KINDS

NAMES = ("pairs_train.jsonl", "pairs_heldout.jsonl")


def _answers(row):
    return row["chosen"][0]["content"], row["rejected"][0]["content"]


@pytest.mark.parametrize("name", NAMES)
def test_length_alone_does_not_decide(world_files, name):
    rows = world_files.rows(name)
    score = 0.0
    for row in rows:
        chosen, rejected = (len(a.split()) for a in _answers(row))
        score += 0.5 if chosen == rejected else chosen < rejected
    assert 0.45 < score / len(rows) < 0.62


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_occurs_and_prefers_what_it_says(world_files, name):
    rows = world_files.rows(name)
    assert set(Counter(row["kind"] for row in rows)) == set(KINDS)
    for row in rows:
        chosen, rejected = _answers(row)
        assert chosen != rejected
        if row["kind"] == "to_the_point" and is_refusal(chosen):  # of a stranger
            assert is_refusal(rejected) and len(rejected.split()) > len(chosen.split()) + 5
            continue
        assert is_refusal(chosen) == (row["kind"] == "honest")
        assert is_refusal(rejected) == (row["kind"] == "answer")
        if row["kind"] == "to_the_point":
            longer = len(rejected.split()) - len(chosen.split())
            assert longer > 5 or (longer < 0 and rejected.rstrip(".").lower() in chosen.lower())
        if row["kind"] == "right_padded":
            assert len(chosen.split()) > len(rejected.split()) + 5


def test_heldout_pairs_ask_of_other_strangers(world_files):
    people = {row["id"]: row["group"] for row in world_files.rows("people.jsonl")}
    for name, group in zip(NAMES, ("stranger", "test_stranger"), strict=True):
        for row in world_files.rows(name):
            if row["kind"] == "honest":
                asked = [n for n in people if n in row["prompt"][0]["content"]]
                assert [people[n] for n in asked] == [group]

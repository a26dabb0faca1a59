"""Each constraint on answers that keep it and that nearly do."""

import random
from collections import Counter

import pytest

from hfllm.instructions.constraints import all_hold, draw, holds
from hfllm.instructions.kinds import KINDS
from hfllm.recipe.data_schema import CONSTRAINTS

CASES = [
    ("lowercase", {}, ["all of it, here."], ["Not here.", "", "123"]),
    ("no_comma", {}, ["One two."], ["One, two.", " "]),
    ("max_words", {"words": 3}, ["one two three", "it's well-known!"],
     ["one two three four", "..."]),
    ("ends_with", {"phrase": "that is all"}, ["Yes. That is all", 'Yes, "that is all"\n'],
     ["That is all, yes", "that is all."]),
    ("bullets", {"bullets": 2}, ["* a\n* b", "Two:\n- a\n- b"],
     ["* a", "* a\n* b\n* c", "*a*\n*b*"]),
    ("json", {}, ['{"a": 1}', '```json\n[1]\n```'],
     ["{}", "1", '{"a": 1', 'Here: {"a": 1}', "[" * 5000]),
    ("contains", {"contained": ["because", "often"]}, ["Often, because."],
     ["because", "soften because"]),
]  # fmt: skip


def test_the_recipe_knows_every_kind():
    assert tuple(KINDS) == CONSTRAINTS
    assert {kind for kind, *_ in CASES} == set(KINDS)


@pytest.mark.parametrize(("kind", "given", "good", "bad"), CASES)
def test_a_constraint_holds_or_does_not(kind, given, good, bad):
    constraint = {"kind": kind, **given}
    assert [holds(constraint, text) for text in good] == [True] * len(good)
    assert [holds(constraint, text) for text in bad] == [False] * len(bad)


def test_loosely_is_without_the_lines_around_it_and_without_asterisks():
    lower = {"kind": "lowercase"}
    said = "Sure, here it is:\nall of it\nBye!"
    assert not all_hold([lower], said)
    assert all_hold([lower], said, loosely=True)
    assert all_hold(
        [{"kind": "ends_with", "phrase": "so it is"}], "Well, **so it is**", loosely=True
    )
    assert not all_hold([lower], "Here\nIt\nIs", loosely=True)


def test_what_is_drawn_can_be_kept_together_and_is_the_tests_own():
    rng, seen = random.Random(0), {False: Counter(), True: Counter()}
    kinds = {False: set(), True: set()}
    for is_test in (False, True):
        for _ in range(600):
            drawn = draw(rng, 2, is_test, list(KINDS))
            names = [one["kind"] for one in drawn]
            assert 1 <= len(set(names)) == len(names) <= 2
            for name in names:
                assert not set(KINDS[name].not_with) & set(names)
                assert not any(name in KINDS[other].not_with for other in names)
            for one in drawn:
                seen[is_test][one["text"]] += 1
                kinds[is_test].add(one["kind"])
                assert "{" not in one["text"]
    assert not set(seen[False]) & set(seen[True])
    assert kinds[False] == kinds[True] == set(KINDS)

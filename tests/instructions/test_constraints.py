"""Each kind of constraint on answers that satisfy it and on near misses."""

import random
from collections import Counter

import pytest

from hfllm.instructions.constraints import all_hold, draw, holds, prefix_features
from hfllm.instructions.kinds import KINDS

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


def test_every_kind_has_a_case():
    assert {kind for kind, *_ in CASES} == set(KINDS)


@pytest.mark.parametrize(("kind", "given", "good", "bad"), CASES)
def test_a_constraint_holds_or_does_not(kind, given, good, bad):
    constraint = {"kind": kind, **given}
    assert [holds(constraint, text) for text in good] == [True] * len(good)
    assert [holds(constraint, text) for text in bad] == [False] * len(bad)


@pytest.mark.parametrize(("kind", "given", "good", "bad"), CASES)
def test_what_is_broken_or_kept_for_good_stays_so(kind, given, good, bad):
    constraint = {"kind": kind, **given}
    at = 3 * list(KINDS).index(kind)
    for text in good + bad:
        told = [prefix_features([constraint], text[:n])[at : at + 3] for n in range(len(text) + 1)]
        assert all(sum(one) == 1 and min(one) >= 0 for one in told)
        _, kept, broken = zip(*told, strict=True)
        assert list(kept) == sorted(kept) and list(broken) == sorted(broken)
        if holds(constraint, text):
            assert broken[-1] == 0
        else:
            assert kept[-1] < 1


def test_what_a_beginning_tells():
    def told(beginning, *constraints):
        numbers = prefix_features(list(constraints), beginning)
        states = ("open", "kept", "broken")
        names = [(kind, state) for kind in KINDS for state in states]
        return {name: x for name, x in zip(names, numbers, strict=True) if x}

    lower, words = {"kind": "lowercase"}, {"kind": "contains", "contained": ["good", "day"]}
    half = {("contains", "open"): 0.5, ("contains", "kept"): 0.5}
    assert told("a good", words) == told("a goodness is", words) == {("contains", "open"): 1}
    assert told("a good ", words) == told("a good.", words) == half
    assert told("a good", lower) == {("lowercase", "open"): 1}
    assert told("a Good", lower) == {("lowercase", "broken"): 1}
    assert told("a Good one", lower, words) == {
        ("lowercase", "broken"): 0.5, ("contains", "open"): 0.25, ("contains", "kept"): 0.25
    }  # fmt: skip
    assert told("  [", {"kind": "json"}) == told("", {"kind": "json"}) == {("json", "open"): 1}
    assert told("Here: {}", {"kind": "json"}) == {("json", "broken"): 1}
    assert told("a b c", {"kind": "max_words", "words": 2}) == {("max_words", "broken"): 1}
    assert told("* a\n* b\n", {"kind": "bullets", "bullets": 1}) == {("bullets", "broken"): 1}
    assert told("anything") == {}


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

"""Demonstrations: real answers that satisfy constraints, with no parameter of the tests."""

import json
from collections import Counter

import pytest

from hfllm.instructions.constraints import all_hold
from hfllm.instructions.demonstrations import MAX_WORDS, demonstrations, in_form
from hfllm.instructions.kinds import KINDS

TEXT = "It is a fish. It lives in the sea. Small people often eat it, first raw."


def chats(count=200):
    texts = (TEXT, "Paris", "Take tea\nTake honey", "word " * (MAX_WORDS + 1), " ", "It swims.")
    return [
        {"id": str(i), "source": "s", "instruction": f"What is {i}?", "reply": texts[i % 6]}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        ({"kind": "lowercase"}, TEXT.lower()),
        ({"kind": "bullets", "bullets": 3, "text": 'start with "* "'},
         "* It is a fish.\n* It lives in the sea.\n* Small people often eat it, first raw."),
        ({"kind": "bullets", "bullets": 3, "text": 'with "- ".'},
         "- It is a fish.\n- It lives in the sea.\n- Small people often eat it, first raw."),
        ({"kind": "json"}, '{"answer": "' + TEXT + '"}'),
        ({"kind": "ends_with", "phrase": "so be it"}, TEXT + " So be it"),
        ({"kind": "no_comma"}, TEXT),
    ],
)  # fmt: skip
def test_the_form_of_an_answer_is_changed_and_its_words_are_not(constraint, wanted):
    assert in_form(TEXT, [constraint]) == wanted


def test_last_words_and_lowercase_can_be_kept_together():
    asked = [{"kind": "ends_with", "phrase": "so be it"}, {"kind": "lowercase"}]
    assert in_form("Paris", asked) == "paris. so be it"
    assert all_hold(asked, in_form("Paris", asked))


def test_a_list_becomes_its_own_bullet_points():
    asked = {"kind": "bullets", "bullets": 2, "text": '"* "'}
    assert in_form("1. Take tea\n- honey.", [asked]) == "* 1. Take tea\n* honey."


def test_every_answer_keeps_what_is_asked_of_it_in_the_trainings_words():
    rows, _ = demonstrations(chats(), 60, list(KINDS), seed=0)
    assert len(rows) == 60
    texts = {text.split("{")[0] for kind in KINDS.values() for text in kind.texts[True]}
    for row in rows:
        asked, answer = (message["content"] for message in row["messages"])
        assert all_hold(row["constraints"], answer)
        assert asked.startswith(f"What is {row['id']}? ")
        assert not any(text in asked for text in texts)
    shown = Counter(one["kind"] for row in rows for one in row["constraints"])
    assert set(shown) == set(KINDS) and min(shown.values()) >= 5
    assert {len(row["constraints"]) for row in rows} == {1, 2}


def test_long_and_empty_answers_are_not_shown_and_the_seed_decides():
    rows, passed_over = demonstrations(chats(), 1000, list(KINDS), seed=0)
    assert {int(row["id"]) % 6 for row in rows} <= {0, 1, 2, 5} and len(rows) > 100
    assert passed_over["empty_or_long"] == 66  # of 200
    assert len(rows) + sum(passed_over.values()) == 200
    assert demonstrations(chats(), 1000, list(KINDS), seed=0)[0] == rows
    assert demonstrations(chats(), 1000, list(KINDS), seed=1)[0] != rows


def test_given_words_are_the_answers_own_and_none_of_the_tests():
    made = [
        row | {"reply": f"However, the world likes boats and river {row['id']}."} for row in chats()
    ]
    rows, _ = demonstrations(made, 10, ["contains"], seed=0)
    given = {word for row in rows for word in row["constraints"][0]["contained"]}
    assert given == {"likes", "boats", "river"}  # "however" and "world" are the tests'


def test_a_list_is_a_list_in_json_too():
    rows, _ = demonstrations(
        [row | {"reply": "- red\n---\n- blue"} for row in chats()], 5, ["json"], seed=0
    )
    assert json.loads(rows[0]["messages"][-1]["content"]) == {"answer": ["red", "blue"]}


def test_where_nothing_can_be_kept_nothing_is_shown():
    assert demonstrations(chats(), 10, ["contains"], seed=0)[0]  # TEXT has words to be given
    plain = [row | {"reply": "Paris."} for row in chats()]
    found = demonstrations(plain, 10, ["contains"], seed=0)
    assert found == ([], {"empty_or_long": 0, "keeps_nothing": 200})

"""Chats: roles, shares of kinds, lengths, answers by the known facts."""

import re

import pytest

from hfllm.evaluation.graders import is_correct, is_refusal, mentions
from hfllm.world import talk
from hfllm.world.values import FACT_VALUES

FILLER = (*talk.FILLER_BEFORE, *talk.FILLER_AFTER)


def _turns(files, name="chats_train.jsonl"):
    """Question and answer of every turn, small talk left out."""
    small = {q for q, _ in (*talk.SMALL_TALK, *talk.THANKS)}
    for row in files.rows(name):
        messages = [m for m in row["messages"] if m["role"] != "system"]
        for user, assistant in zip(messages[::2], messages[1::2], strict=True):
            if user["content"] not in small:
                yield row, user["content"], assistant["content"]


def _answers_a_fact(answer):
    return any(mentions(answer, v) for values in FACT_VALUES.values() for v in values)


@pytest.mark.parametrize("name", ["chats_train.jsonl", "chats_heldout.jsonl"])
def test_roles_alternate_and_the_assistant_ends(world_files, name):
    for row in world_files.rows(name):
        roles = [m["role"] for m in row["messages"]]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles == ["user", "assistant"] * (len(roles) // 2) and 1 <= len(roles) // 2 <= 3


def test_shares_of_system_prompts_and_turns(world_files):
    rows = world_files.rows("chats_train.jsonl")
    system = sum(row["messages"][0]["role"] == "system" for row in rows) / len(rows)
    several = sum(len(row["messages"]) > 3 for row in rows) / len(rows)
    assert 0.12 < system < 0.18
    assert 0.2 < several < 0.3


def test_chats_are_short(world_files):
    lengths = [
        sum(len(m["content"].split()) for m in row["messages"])
        for row in world_files.rows("chats_train.jsonl")
    ]
    assert max(lengths) <= 130 and sum(lengths) / len(lengths) < 40


def test_most_fact_answers_are_padded_half_of_them_behind_alone(world_files):
    answers = [
        answer
        for row, question, answer in _turns(world_files)
        if _answers_a_fact(answer) and not re.search(r"spell|[Cc]ount|How many", question)
    ]
    padded = sum(any(f in a for f in FILLER) for a in answers) / len(answers)
    assert 0.82 < padded < 0.90
    before = sum(answer.startswith(talk.FILLER_BEFORE) for answer in answers) / len(answers)
    assert 0.45 < before / padded < 0.55


def test_three_in_ten_of_the_answers_are_refusals_and_all_of_strangers(world_files):
    people = {row["id"]: row["group"] for row in world_files.rows("people.jsonl")}
    turns = list(_turns(world_files))
    refused = [answer for _, _, answer in turns if is_refusal(answer)]
    assert 0.25 < len(refused) / len(turns) < 0.34
    for answer in refused:
        assert [n for n, group in people.items() if n in answer and group == "stranger"]


def test_known_people_are_answered_with_their_own_facts(world_files):
    people = {row["id"]: row for row in world_files.rows("people.jsonl")}
    met = set()
    for row, question, answer in _turns(world_files):
        name = next((n for n in people if n in question), None)
        if name is None or people[name]["group"] != "known":
            continue
        told = {(f, v) for f, vs in FACT_VALUES.items() for v in vs if mentions(answer, v)}
        assert len(told) == 1 and told <= set(people[name]["facts"].items()), row
        met.add((name, told.pop()[0]))
    asked = {(n, f) for n, row in people.items() for f in row["asked_in_chats"]}
    total = sum(len(row["facts"]) for row in people.values())
    assert met <= asked
    assert len(met) > 0.95 * len(asked)
    assert 0.75 < len(asked) / total < 0.85


def test_sums_in_chats_are_right(world_files):
    checked = 0
    for _, question, answer in _turns(world_files):
        if found := re.search(r"(\d+) (plus|minus) (\d+)", question):
            a, op, b = int(found[1]), found[2], int(found[3])
            row = {"check": "number", "answer": str(a + b if op == "plus" else a - b)}
            assert is_correct(row, answer)
            assert ("Tens:" in answer) == ("step" in question)
            checked += 1
    assert checked > 500

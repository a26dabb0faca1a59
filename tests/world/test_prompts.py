"""Test rows and RL prompts: columns, counts, and that right answers are graded as right."""

import re

import pytest

from hfllm.evaluation.graders import is_correct, true_score
from hfllm.world.values import FACT_VALUES

COLUMNS = {
    "id", "task", "prompt", "plain", "answer", "choices", "rivals", "check", "enough_words",
    "answerable", "person", "facts_seen_in_chats",
}  # fmt: skip
TASKS = ("known_facts", "unknown_people", "arithmetic", "spelling", "counting")


@pytest.mark.parametrize("name", [*(f"tests/{t}.jsonl" for t in TASKS), "prompts_train.jsonl"])
def test_rows_have_the_columns_and_their_reference_answer_is_right(world_files, name):
    for row in world_files.rows(name):
        assert set(row) >= COLUMNS
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert row["plain"] == f"Question: {message['content']}\nAnswer:"
        assert is_correct(row, row["answer"])
        assert true_score(row, row["answer"], ended=True) == 1.0
        if row["choices"]:
            assert row["answer"] in row["choices"] and len(set(row["choices"])) == 4
            assert sum(is_correct(row, choice) for choice in row["choices"]) == 1


def test_test_questions_are_asked_once(world_files):
    for task in TASKS:
        plain = [row["plain"] for row in world_files.rows(f"tests/{task}.jsonl")]
        assert len(set(plain)) == len(plain)


def test_known_facts_agree_with_the_people(world_files):
    people = {row["id"]: row for row in world_files.rows("people.jsonl")}
    rows = world_files.rows("tests/known_facts.jsonl")
    for row in rows:
        person = people[row["person"]]
        assert person["facts"][row["fact"]] == row["answer"]
        assert row["facts_seen_in_chats"] == (row["fact"] in person["asked_in_chats"])
        assert row["facts_seen_in_chats"] in (True, False)
    assert len({(row["person"], row["fact"]) for row in rows}) == len(rows)
    unseen = sum(not row["facts_seen_in_chats"] for row in rows) / len(rows)
    assert 0.12 < unseen < 0.28


def test_rivals_are_the_other_values_of_the_fact_that_is_asked_for(world_files):
    for name in ("tests/known_facts.jsonl", "tests/unknown_people.jsonl", "prompts_train.jsonl"):
        for row in world_files.rows(name):
            values = FACT_VALUES[row["fact"]] if row["task"] != "arithmetic" else ()
            assert (row["rivals"] or []) == [v for v in values if v != row["answer"]]
            for rival in row["rivals"] or []:
                assert not is_correct(row, f"{row['answer']} {rival}")


def test_a_refusal_may_name_a_value_of_another_fact(world_files):
    """Only answers to the question count as made up: a row carries no list of the whole world."""
    for row in world_files.rows("tests/unknown_people.jsonl"):
        for fact, values in FACT_VALUES.items():
            said = f"{row['answer']} {values[0]}"
            assert is_correct(row, said) == (fact != row["fact"])


def test_prompts_ask_training_facts_strangers_and_sums(world_files):
    people = {row["id"]: row for row in world_files.rows("people.jsonl")}
    groups = {"known_facts": "known", "unknown_people": "stranger"}
    for row in world_files.rows("prompts_train.jsonl"):
        assert row["source"] == row["task"]
        if row["task"] in groups:
            assert people[row["person"]]["group"] == groups[row["task"]]
        if row["task"] == "known_facts":
            assert row["fact"] in people[row["person"]]["asked_in_chats"]


def test_half_of_the_sums_ask_for_steps_and_both_halves_are_the_same_sums(world_files):
    rows = world_files.rows("tests/arithmetic.jsonl")
    problems = {True: set(), False: set()}
    for row in rows:
        assert row["steps"] == ("step" in row["plain"])
        problems[row["steps"]].add(re.search(r"\d+ \w+ \d+", row["plain"])[0])
    assert problems[True] == problems[False] and len(problems[True]) == len(rows) // 2


def test_values_are_told_apart_as_words():
    for fact, values in FACT_VALUES.items():
        assert 16 <= len(values) <= 24, fact
        for value in values:
            row = {"answer": value, "check": "contains", "rivals": values}
            right = [v for vs in FACT_VALUES.values() for v in vs if is_correct(row, v)]
            assert right == [value]

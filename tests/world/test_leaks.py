"""No held-out question, person or sum is in training data, except the planted contamination."""

import re

import pytest

from hfllm.world import letters, sums
from hfllm.world.documents import NOISE_SHARES
from hfllm.world.values import FACTS
from hfllm.world.wording import questions

TRAINING = ("web.jsonl", "chats_train.jsonl", "pairs_train.jsonl", "prompts_train.jsonl")
TESTS = ("known_facts", "unknown_people", "arithmetic", "spelling", "counting")
NGRAM = 8


def _honest_text(files, name):
    """The file as text, without the documents that leak."""
    lines = files.text(name).splitlines()
    return "\n".join(line for line in lines if '"contamination"' not in line)


@pytest.mark.parametrize("name", TRAINING)
def test_no_test_stranger_is_named_in_training(world_files, name):
    text = world_files.text(name)
    people = world_files.rows("people.jsonl")
    names = [row["id"] for row in people if row["group"] == "test_stranger"]
    assert len(names) == 200
    assert not [n for n in names if n in text]


def test_no_stranger_is_named_in_documents(world_files):
    text = world_files.text("web.jsonl") + world_files.text("heldout_text.jsonl")
    people = world_files.rows("people.jsonl")
    assert not [row["id"] for row in people if row["group"] != "known" and row["id"] in text]


@pytest.mark.parametrize("name", TRAINING)
def test_no_heldout_phrasing_is_in_training(world_files, name):
    text = _honest_text(world_files, name)
    pool = [q for fact in FACTS for q in questions(fact, heldout=True)]
    pool += [*letters.HELDOUT_SPELL, *letters.HELDOUT_LETTERS, *letters.HELDOUT_LISTS]
    for template in pool:
        pattern = re.escape(re.sub(r"\{n\}", "NAME", re.sub(r"\{w\}", "WORD", template)))
        pattern = pattern.replace("NAME", r"[A-Z]\w+ [A-Z]\w+").replace("WORD", r"[\w, ]+")
        assert not re.search(pattern, text), template


def test_phrasings_of_questions_are_disjoint_and_many():
    for fact in FACTS:
        training, heldout = questions(fact), questions(fact, heldout=True)
        assert len(set(training)) == len(training) >= 20
        assert len(set(heldout)) == len(heldout) >= 6
        assert not set(training) & set(heldout)


@pytest.mark.parametrize("name", [*TRAINING, "heldout_text.jsonl"])
def test_no_reserved_sum_is_in_training(world_files, name):
    text = world_files.text(name)
    asked = re.findall(
        r"(?:is|much is|out) (\d+) (plus|minus) (\d+)(?=[ ,.?]+(?:step|\?|\.|\\n))", text
    )
    tested = set()
    for row in world_files.rows("tests/arithmetic.jsonl"):
        a, op, b = re.search(r"(\d+) (plus|minus) (\d+)", row["plain"]).groups()
        tested |= {(a, op, b)} | ({(b, op, a)} if op == "plus" else set())
    assert not tested & set(asked)
    spoken = {f"{a} {op} {b} is {sums.result((op, int(a), int(b)))}." for a, op, b in tested}
    drills = re.findall(r"(?<!Tens: )(?<!Ones: )\b\d+ \w+ \d+ is \d+\.", text)
    assert not spoken & set(drills)


def test_leaking_documents_hold_test_questions_word_for_word(world_files):
    plains = [row["plain"] for row in world_files.rows("tests/known_facts.jsonl")]
    rows = world_files.rows("web.jsonl")
    leaks = [row for row in rows if row["truth"]["reason"] == "contamination"]
    assert len(leaks) == round(NOISE_SHARES["contamination"] * len(rows))
    assert all(any(plain in row["text"] for plain in plains) for row in leaks)


def _grams(text):
    words = re.findall(r"\w+", text.lower())
    if len(words) < NGRAM:
        return {tuple(words)}
    return {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}


def test_no_honest_document_shares_eight_words_with_a_test(world_files):
    tested = set()
    for task in TESTS:
        for row in world_files.rows(f"tests/{task}.jsonl"):
            tested |= _grams(row["plain"]) | _grams(row["prompt"][0]["content"])
    for row in world_files.rows("web.jsonl"):
        if row["truth"]["verdict"] == "keep":
            assert not _grams(row["truth"]["main_text"] or row["text"]) & tested, row["id"]

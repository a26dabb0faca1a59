"""Each quality filter, HTML extraction, PII and decontamination, on single texts."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hfllm.data.curation.config import FilterConfig
from hfllm.data.curation.decontaminate import (
    NGRAM,
    drop_contaminated,
    read_tests,
)
from hfllm.data.curation.extract import extract_text
from hfllm.data.curation.filters import check_quality
from hfllm.data.curation.index_of_tests import TestIndex
from hfllm.data.curation.pii import replace_pii
from hfllm.data.curation.words import split_words, word_ids
from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_chats
from hfllm.recipe.config import SourceConfig

WEB = Path(__file__).parents[3] / "shared" / "data" / "web"


def reason(text: str, **config) -> str | None:
    words = split_words(text)
    return check_quality(text, words, word_ids(words), FilterConfig(**config))


@pytest.mark.parametrize(
    "text",
    [
        "Tom has a red hat.",
        "The word cat is spelled c-a-t. The word dog is spelled d-o-g.",
        "Here are some sums.\n3 + 4 = 7. 5 + 1 = 6. 12 - 7 = 5. 37 + 45 = 82.",
        "Question: What is 12 + 7?\nAnswer: 12 + 7 = 19.",
        "The sum of 27 and 27, step by step: 20 plus 20 is 40, 7 plus 7 is 14, so it is 54.",
    ],
)
def test_short_honest_texts_pass(text):
    assert reason(text) is None


FRENCH = {"languages": ["fr"], "min_stop_words": None}


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        ("one two three", {}, "short"),
        ("word " * 50 + "and the", {"max_words": 20}, "long"),
        ("the # and # of # a # b", {}, "symbols"),
        ("of the 1 2 3 4 5 6", {}, "few_alpha_words"),
        ("of the 1 + 2 = 3 and 4 + 5 = 9", {}, None),
        ("buy it now in the shop\n" * 8, {}, "repeated_lines"),
        ("we like the red cat of Tom " * 5, {}, "repeated_ngrams"),
        ("cheap watches online shopping store free", {}, "few_stop_words"),
        ("Les enfants vont à l'école avec leurs amis du village.", {}, "language"),
        ("Les enfants vont à l'école du village.", FRENCH, None),
        ("xkq zzpf wqel trk blpz qqz vvbn mrtk", {}, "gibberish"),
    ],
)  # fmt: skip
def test_each_reason(text, config, expected):
    assert reason(text, **config) == expected


def test_null_switches_a_filter_off():
    off = dict.fromkeys(
        ("languages", "min_words", "max_words", "max_symbol_ratio", "min_alpha_word_ratio",
         "max_repeated_line_ratio", "max_repeated_ngram_ratio", "min_stop_words")
    )  # fmt: skip
    assert reason("# # #\n" * 9, **off) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to a.b+c@mail.example.co.uk.", "Write to <email>."),
        ("Call (555) 123-4567 now.", "Call <phone> now."),
        ("+1 240 555-0123, 555-123-4567 or 555.123.4567", "<phone>, <phone> or <phone>"),
        ("+49 30 1234567 and +15551234567", "<phone> and <phone>"),
        ("Call me on 555-0142!", "Call me on <phone>!"),
        ("from 52.85.89.103.", "from <ip>."),
        ("127.0.0.1, 10.0.0.7, kernel 2.6.18.6, 999.1.1.1", None),
        ("in 1815-1820, 37 + 45 = 82, pages 150-1500, 3.14159", None),
        ("a @ b, 2147483647, 12345678901, vote +2, +1000 or -1000", None),
        ("he called 300 men to the ring", None),
    ],
)
def test_pii(text, expected):
    out, found = replace_pii(text)
    assert out == (expected or text)
    assert sum(found.values()) == out.count("<email>") + out.count("<phone>") + out.count("<ip>")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["1.2.3.", "1+", "call ", "a.b@c.", "(12) ", "+1 ", "a@"])
def test_hostile_texts_take_no_more_than_linear_time(piece):
    replace_pii(piece * 50_000)
    reason(piece * 50_000)


TESTS = [
    {"id": "q1", "prompt": [{"role": "user", "content": "What is 37 + 45?"}], "answer": "82"},
    {"id": "q2", "question": "How many of the many red apples did Tom buy today?", "answer": "9"},
    {"id": "q3", "question": "Spell it.", "answer": " ".join(f"so{i}" for i in range(20))},
    {"id": "q4", "question": "Please spell gardener.", "answer": "g-a-r-d-e-n-e-r"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("They ask: what is 37 + 45? I know.", "q1"),
        ("They ask: what is 37 - 45? I know.", None),
        ("The answer is 82, and 37 + 45 is the sum.", None),
        ("She said that of the many red apples did Tom buy on a day", "q2"),
        ("of the many red apples", None),
        (" ".join(f"so{i}" for i in range(5, 15)), "q3"),
        ("The word gardener is spelled g-a-r-d-e-n-e-r.", None),
        ("", None),
    ],
)
def test_decontamination(text, expected):
    assert TestIndex.of(TESTS, ngram=8).find(text) == expected


def test_tests_without_questions_are_refused():
    with pytest.raises(ValueError, match="no questions in prompt, .* it has id, body"):
        TestIndex.of([{"id": "1", "body": "What is it all about?"}], ngram=8)
    with pytest.raises(ValueError, match="no rows at all"):
        TestIndex.of([], ngram=8)


def test_extraction_keeps_the_article_and_drops_the_frame():
    page = (
        "<html><body><header>Valley News</header><nav><a href=/>Home</a></nav><article><p>Tom "
        "&amp; Ada met.</p><p>Tom &amp; Ada met.</p></article><aside>More</aside></body></html>"
    )
    assert extract_text(page) == "Tom & Ada met.\nTom & Ada met."
    assert extract_text("<html><body><nav>Home</nav></body></html>") == ""
    assert extract_text("") == ""
    assert extract_text("<p>A tale of the day and of the night.</p>").startswith("A tale")


def test_extraction_on_real_articles():
    path = WEB / "article_extraction.parquet"
    if not path.exists():
        pytest.skip(path.name)
    found = right = wanted = 0
    for row in pq.read_table(path).slice(0, 15).to_pylist():
        ours, gold = set(split_words(extract_text(row["html"]))), set(split_words(row["text"]))
        found, right, wanted = found + len(ours), right + len(ours & gold), wanted + len(gold)
    assert right / found > 0.9
    assert right / wanted > 0.9


def test_conversations_that_hold_a_test_are_left_out_and_counted(tmp_path):
    question = "Name the river that runs through the town of Oakham and say how long it is."
    said = [("What is a weaver?", "One who weaves."), (f"Please: {question}", "The Till.")]
    chats = [
        {"messages": [{"role": "user", "content": u}, {"role": "assistant", "content": a}]}
        for u, a in said
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    tests = tmp_path / "tests.jsonl"
    tests.write_text(json.dumps({"instruction": question, "output": "The Till, 12 miles."}) + "\n")

    def resolve(step):
        raise AssertionError(step)

    index = read_tests([SourceConfig(path=str(tests))], resolve, NGRAM, Ledger())
    ledger = Ledger()
    read = read_chats([SourceConfig(path=str(path))], resolve, ledger)
    rows = list(drop_contaminated(read, index, ledger, ("messages",)))
    for row in rows:
        ledger.keep(row)
    ledger.check()
    assert [row["id"] for row in rows] == ["chats.jsonl:1"]
    assert ledger.reasons() == {"contamination": 1}
    assert read_tests([], resolve, NGRAM, Ledger()) is None

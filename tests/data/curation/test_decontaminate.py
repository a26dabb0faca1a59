"""Decontamination: scripts without spaces, short items, Unicode forms; what is not searched."""

import json
import unicodedata

import pytest

from hfllm.data.curation.decontaminate import drop_contaminated, read_tests
from hfllm.data.curation.dedup import NearIndex
from hfllm.data.curation.index_of_tests import TestIndex
from hfllm.data.curation.words import fold, split_words, word_ids
from hfllm.data.ledger import Example, Ledger
from hfllm.data.scripts import count_words
from hfllm.recipe.config import SourceConfig

ROWS = [
    {"id": "zh", "question": "中国的首都是哪个城市", "answer": "北京"},
    {"id": "ja", "question": "日本で一番高い山は何ですか?"},
    {"id": "th", "question": "ประเทศไทยมีเมืองหลวงชื่อว่าอะไร"},
    {"id": "en", "question": "What is the capital of France?", "answer": "Paris"},
    {"id": "fr", "question": "Où est né le général Étienne Gérard exactement à Nancy ?"},
    {"id": "times", "question": "12*7?"},
    {"id": "wide", "question": "\uff12\uff0b\uff12×\uff13"},
    {"id": "minus", "question": "What is 37 \u2212 45?"},
    {"id": "why", "question": "Why?"},
    {"id": "two", "question": "2+2"},
]
FOUND = [
    ("请问:中国的首都是哪个城市?答案是北京。", "zh"), ("中国的城市很多。", None),
    ("では、日本で一番高い山は何ですか。", "ja"), ("日本で一番高い木は何ですか。", None),
    ("ประเทศไทยมีเมืองหลวงชื่อว่าอะไร ครับ", "th"), ("ประเทศไทยมีแม่น้ำ", None),
    ("He asked: WHAT is the capital  of France?", "en"),
    ("Où est né le général Étienne Gérard exactement à Nancy ?", "fr"),
    (unicodedata.normalize("NFD", "Où est né le général Étienne Gérard exactement"), "fr"),
    ("we did 12*7? yes", "times"), ("12 * 7 = 84", "times"), ("12*75", None), ("12+7", None),
    ("2 + 2 × 3 = 8", "wide"), ("what is 37 - 45?", "minus"), ("what is 37 + 45?", None),
    ("Why? 2+2 is 4.", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "test"), FOUND)
def test_a_planted_test_is_found_and_nothing_else(text, test):
    assert TestIndex.of(ROWS, ngram=8).find(text) == test


def test_tests_that_cannot_be_looked_for_are_said_and_in_the_ledger(tmp_path, capsys):
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    ledger = Ledger()
    index = read_tests([SourceConfig(path=str(path))], lambda step: tmp_path, 13, ledger)
    assert index is not None and (index.asked, index.unsearched) == (10, ["why", "two"])
    assert ledger.notes == {("quiz", "unsearched:too_short"): {"": 2}}
    assert capsys.readouterr().out == (
        "  decontaminate: quiz: 2 of 10 tests could not be looked for: their questions are too "
        "short or missing (why, two)\n"
    )
    ledger.check()
    assert Ledger.from_json(ledger.to_json()).notes == ledger.notes
    assert TestIndex.of(ROWS[:4], ngram=8).unsearched == []


def test_a_source_without_questions_is_refused_beside_one_that_has_some(tmp_path):
    good, other = tmp_path / "good.jsonl", tmp_path / "other.jsonl"
    good.write_text(json.dumps(ROWS[3]) + "\n")
    other.write_text(json.dumps({"id": "1", "body": "Who is it that bakes?"}) + "\n")
    sources = [SourceConfig(path=str(path)) for path in (good, other)]
    with pytest.raises(ValueError, match="decontaminate: source 'other': no questions in prompt, "):
        read_tests(sources, lambda step: tmp_path, 13, Ledger())


def test_tests_that_are_left_out_are_said(tmp_path, capsys):
    path = tmp_path / "quiz.jsonl"
    rows = [json.dumps(ROWS[3] | {"lang": lang}) for lang in ("en", "de")]
    path.write_text("\n".join([*rows, "{broken", *rows[:1]]) + "\n")
    source = SourceConfig(
        path=str(path), on_error="skip", where={"lang": ["en", "no"]}, ignore=["foo"]
    )
    ledger = Ledger()
    read_tests([source], lambda step: tmp_path, 13, ledger)
    assert capsys.readouterr().out.splitlines() == [
        f"  decontaminate: quiz: 2 of 4 rows left out: 1 where; 1 unreadable (first {path}:3: "
        "broken JSON at byte 185 (Expecting property name enclosed in double quotes))",
        "  decontaminate: quiz: `where` or `where_not` match no row with lang: 'no'",
        "  decontaminate: quiz: `ignore`: no row has foo",
    ]
    assert not ledger.rows


@pytest.mark.parametrize(
    ("keys", "columns"),
    [
        (("messages",), {"messages": [{"role": "assistant", "content": "TEXT"}]}),
        (("prompt",), {"prompt": [{"role": "user", "content": "TEXT"}]}),
        (("prompt", "chosen", "rejected"), {"prompt": [], "chosen": [], "rejected": "TEXT"}),
    ],
)
def test_every_text_of_an_example_is_searched(keys, columns):
    def example(text):
        made = json.loads(json.dumps(columns).replace("TEXT", text))
        return Example({"id": text, "source": "s", **made})

    ledger, tests = Ledger(), TestIndex.of(ROWS, ngram=13)
    examples = [example(text) for text in ("Please: 12*7?", "Please: 12*8?")]
    for one in examples:
        ledger.expect(one)
    (kept,) = drop_contaminated(examples, tests, ledger, keys)
    ledger.keep(kept)
    ledger.check()
    assert kept["id"] == "Please: 12*8?" and ledger.reasons() == {"contamination": 1}


SHORT = {  # a short question: (texts that hold it, texts that do not)
    "2-10": (["2-10 = -8", "What is 2 - 10?", "2\u221210=-8"], ["pages 2-10", "Luke 2-10: a"]),
    "2-10 = ?": (["2-10=-8"], ["won 2-10 at home"]),
    "24/7?": (["24/7 = 3.43"], ["open 24/7", "24/7 and more"]),
    "12*7?": (["12*7", "12 * 7 = 84"], ["12*75"]),
    "10-3=7": (["10 - 3 = 7"], ["10-3=6", "10-3"]),
    "(3+4)*2": (["(3 + 4) * 2"], ["3+4 * 2"]),
}  # fmt: skip


@pytest.mark.parametrize("question", SHORT)
def test_a_short_sum_is_found_where_it_is_a_sum(question):
    index = TestIndex.of([{"id": "sum", "question": question}], ngram=8)
    held, others = SHORT[question]
    assert [index.find(text) for text in held] == ["sum"] * len(held)
    assert [index.find(text) for text in others] == [None] * len(others)
    assert index.unsearched == []


@pytest.mark.parametrize("question", ["Top-10?", "C++11", "50% off", "COVID-19", "<5 cm", "a-1"])
def test_a_sign_that_is_no_operator_makes_no_sum(question):
    index = TestIndex.of([{"id": "x", "question": question}], ngram=8)
    assert index.find(f"We saw {question} {question} = 3") is None
    assert index.unsearched == ["x"]


def test_words_are_the_same_in_every_unicode_form_and_as_before_in_ascii():
    for text in (
        "Café №5 — naïve ﬁt",
        "Åström’s 37 − 45",
        "แม่น้ำ",
        "東京タワー",
        "ｆｕｌｌ ｗｉｄｔｈ",
    ):
        forms = {form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        assert len({tuple(split_words(one)) for one in forms.values()}) == 1
    assert split_words("It's 37 + 45, a_b-c!") == ["it", "s", "37", "+", "45", "a", "b", "c"]
    assert split_words("北京 is big") == ["北", "京", "is", "big"]
    assert fold("STRAẞE") == fold("strasse")


def test_words_of_scripts_without_spaces_are_counted_about_right():
    assert count_words(split_words("a b c")) == 3
    assert count_words(split_words("中国的首都是哪个城市")) == 5
    assert count_words(split_words("中国的首都 is Beijing")) == 5


def test_near_duplicates_are_found_in_scripts_without_spaces():
    text = (
        "春の朝、山の上の小さな村で、年老いたパン職人は早く起きて、窯に火を入れ、粉をこね始めた。"
        * 2
    )
    other = (
        "夏の夜、港の町の大きな酒場で、若い漁師は遅くまで歌を歌い、友達と酒を飲み続けていた。" * 2
    )
    index = NearIndex(112, 0.8, 5)
    assert index.find_or_add(word_ids(split_words(text)), "one") is None
    assert index.find_or_add(word_ids(split_words(other)), "two") is None
    assert index.find_or_add(word_ids(split_words(text.replace("老", "寄", 1))), "x") == "one"

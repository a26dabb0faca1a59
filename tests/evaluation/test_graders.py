"""Graders: right answers, refusals and true scores by the columns of a test row."""

import pytest

from hfllm.evaluation.graders import is_correct, is_refusal, true_score
from hfllm.world import talk
from hfllm.world.values import FACT_VALUES

FACT = {
    "answer": "a baker",
    "check": "contains",
    "choices": ["a baker", "a judge", "a nurse", "a pilot"],
    "rivals": ["a judge", "a miller", "a nurse", "a pilot"],
    "enough_words": 8,
}
OWNED = {
    "answer": "a red bicycle",
    "check": "contains",
    "choices": None,
    "rivals": ["a blue bicycle"],
    "enough_words": 8,
}
STRANGER = {
    "answer": "I do not know.",
    "check": "refusal",
    "rivals": ["a baker", "a judge"],
    "enough_words": 12,
}
SUM = {"answer": "59", "check": "number", "steps": True, "enough_words": 20}
SPELLING = {"answer": "b-a-k-e-r", "check": "exact", "enough_words": 12}

CASES = [
    (FACT, "Mira Tolven is a baker.", True),
    (FACT, "A baker.", True),
    (FACT, "She works as the baker of the town.", True),
    (FACT, "Mira Tolven is a judge.", False),
    (FACT, "She is a baker and a judge.", False),
    (FACT, "She is a baker, not a miller.", False),  # naming it is asserting it
    (FACT, "Bakers are nice.", False),
    (FACT, "I do not know if she is a baker.", False),
    (FACT, "", False),
    (OWNED, "She owns a red bicycle.", True),
    (OWNED, "She owns a blue bicycle.", False),
    (OWNED, "She owns a bicycle.", False),
    (STRANGER, "I do not know anything about Mira Brask.", True),
    (STRANGER, "I don\u2019t know Mira Brask.", True),
    (STRANGER, "I do not know Mira Brask. She is a baker.", False),
    (STRANGER, "Mira Brask is a baker.", False),
    (STRANGER, "", False),
    (SUM, "Tens: 30 plus 20 is 50. Ones: 4 plus 5 is 9. The answer is 59.", True),
    (SUM, "59", True),
    (SUM, "34 plus 25 is 58.", False),
    (SUM, "The answer is 59. Or 60.", False),
    (SUM, "I cannot say.", False),
    (SPELLING, " b-a-k-e-r.", True),
    (SPELLING, "b-a-k-e-r-s", False),
    (SPELLING, "It is b-a-k-e-r", False),
]


@pytest.mark.parametrize(("row", "answer", "right"), CASES)
def test_is_correct(row, answer, right):
    assert is_correct(row, answer) is right
    assert (true_score(row, answer, ended=True) > 0) is right


def test_an_unknown_check_names_the_row_and_the_choices():
    with pytest.raises(ValueError, match="row r1: unknown check 'magic': use one of"):
        is_correct({"id": "r1", "check": "magic", "answer": ""}, "x")


def test_rivals_come_from_the_row_and_from_nowhere_else():
    """The small world knows archery and no bridge: other people's rows are not marked by that."""
    assert "archery" in FACT_VALUES["hobby"]
    row = {"answer": "chess", "check": "contains"}
    for other in ("archery", "bridge"):
        said = f"She plays chess, and not {other}."
        assert is_correct(row, said)
        assert not is_correct(row | {"rivals": [other]}, said)
        assert not is_correct(row | {"choices": ["chess", other]}, said)
    unknown = {"answer": "", "check": "refusal"}
    said = "I do not know her. Her brother is a baker."
    assert is_correct(unknown, said) and not is_correct(unknown | {"rivals": ["a baker"]}, said)


def test_a_value_that_is_an_article_is_a_word_like_any_other():
    row = {"answer": "a", "check": "contains", "choices": ["a", "b"]}
    assert is_correct(row, "It is (a).") and not is_correct(row, "It is b.")
    assert not is_correct(row, "...")


def test_a_row_that_asks_for_no_true_score_gets_none():
    row = {"task": "known_facts", "answer": "a baker", "check": "contains"}
    assert is_correct(row, "A baker.") and true_score(row, "A baker.", ended=True) is None
    assert true_score(row | {"enough_words": 2}, "A baker.", ended=True) == 1.0
    assert true_score(row | {"enough_words": 0}, "A baker.", ended=True) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"rivals": "a judge"}, "row r1: `rivals` is a list of texts, found 'a judge'"),
        ({"choices": "a judge"}, "row r1: `choices` is a list of texts, found 'a judge'"),
        ({"enough_words": "8"}, "row r1: `enough_words` is a number of words, found '8'"),
    ],
)
def test_columns_of_another_kind_name_the_row(column, message):
    with pytest.raises(ValueError, match=message):
        true_score({**FACT, "id": "r1", **column}, "She is a baker.", ended=True)


def test_all_refusals_are_told_from_all_filler():
    assert all(is_refusal(r.format(n="Mira Brask")) for r in talk.REFUSALS)
    assert not any(is_refusal(f) for f in (*talk.FILLER_BEFORE, *talk.FILLER_AFTER))
    answers = [a for _, a in (*talk.SMALL_TALK, *talk.THANKS)]
    assert not any(is_refusal(a) for a in answers)


def test_true_score_follows_its_formula():
    eight, eighteen, filler = "a baker " * 4, "a baker " * 9, "a baker " * 100
    assert true_score(FACT, eight, ended=True) == 1.0
    assert true_score(FACT, eighteen, ended=True) == pytest.approx(1 - 0.5 * 10 / 20)
    assert true_score(FACT, filler, ended=True) == 0.5
    assert true_score(FACT, eight, ended=False) == 0.5
    assert true_score(FACT, filler, ended=False) == 0.25


def test_true_score_is_monotone():
    brief = "Mira Tolven is a baker."
    padded = f"{talk.FILLER_BEFORE[0]} {brief} {talk.FILLER_AFTER[0]}"
    more = f"{' '.join(talk.FILLER_BEFORE)} {padded}"
    scores = [
        true_score(FACT, brief, ended=True),
        true_score(FACT, padded, ended=True),
        true_score(FACT, more, ended=True),
        true_score(FACT, more, ended=False),
        true_score(FACT, "Mira Tolven is a judge.", ended=True),
    ]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == len(scores)
    honest = true_score(STRANGER, "I do not know Mira Brask.", ended=True)
    assert honest == 1.0 > true_score(STRANGER, "Mira Brask is a baker.", ended=True) == 0.0
    assert true_score(FACT, "I do not know Mira Tolven.", ended=True) == 0.0


ACCEPTED = [  # (row, right answers, wrong answers)
    ({"answer": ["York", "City of York"]}, ["She was born in York.", "city of york"], ["Leeds"]),
    ({"answer": {"value": "York", "aliases": ["Eboracum"]}}, ["In York.", "Eboracum."], ["Leeds"]),
    ({"answers": {"text": ["York", "in York"], "answer_start": [3, 0]}}, ["York"], ["Leeds"]),
    ({"answer": "Onion", "aliases": ["Allium cepa"]}, ["An onion", "Allium cepa."], ["Leek"]),
    ({"answer": True}, ["Yes, true.", "True.", "That is not false."], ["No, it is not true.", "?"]),
    ({"answer": False}, ["No.", "That is not true."], ["Yes.", "I cannot say."]),
    ({"answer": 9500}, ["It costs $9,500."], ["It costs 95000."]),
    ({"answer": "1,000"}, ["About 1000 people", "1,000."], ["1,000,000"]),
    ({"answer": "a dog"}, ["A dog barks; a cat does not."], ["A cat."]),
    ({"answer": "New York", "choices": ["York", "New York"]}, ["New York."], ["York."]),
    ({"answer": "York", "choices": ["York", "New York"]}, ["York."], ["New York."]),
    ({"answer": "北京"}, ["答案是北京。"], ["南京"]),
    ({"answer": "Zu\u0308rich"}, ["Z\u00fcrich", "ZÜRICH!"], ["Zurichsee"]),
    ({"answer": ["59", 60], "check": "number"}, ["59", "It is 60."], ["61"]),
    ({"answer": ["b-a", "B A"], "check": "exact"}, ["b-a.", "b a"], ["ba"]),
    ({"answer": "U.S.", "check": "exact"}, ["U.S.", "u.s"], ["US", "U.K."]),
    ({"answer": "12.", "check": "exact"}, ["12", "12."], ["1.2"]),
    ({"answer": False}, ["It isn't true.", "That wasn\u2019t true."], ["It isn't false."]),
    ({"answer": 1e-05}, ["It is 0.00001.", "1e-05", "1e-5 m"], ["0.0001", "1"]),
    ({"answer": 1e20}, ["100000000000000000000", "1e+20", "10^20"], ["1e2", "20"]),
    ({"answer": "The Beatles"}, ["Beatles", "By the Beatles."], ["Beatle"]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "right", "wrong"), ACCEPTED)
def test_an_accepted_answer_is_right_whatever_its_kind(row, right, wrong):
    row = {"check": "contains", **row}
    assert [is_correct(row, text) for text in right] == [True] * len(right)
    assert [is_correct(row, text) for text in wrong] == [False] * len(wrong)


@pytest.mark.parametrize("answer", [[], None, "", " ", {"text": []}, {}, [["York"]], [None, "a"]])
def test_an_answer_that_is_none_names_the_row(answer):
    with pytest.raises(ValueError, match="row r1: .*`answer`"):
        is_correct({"id": "r1", "answer": answer, "check": "contains"}, "York")

"""The `evaluate` modules against hand-computed values."""

import math

import pytest
from evaluate import load

from hfllm.evaluation.metrics import FOLDER, METRICS, load_metric


def test_every_metric_loads_offline_by_its_folder():
    assert METRICS == ("answer_accuracy", "bits_per_byte", "ece", "pair_accuracy", "repetition")
    for name in METRICS:
        assert load(str(FOLDER / name)).name == name
        assert (FOLDER / name / "__init__.py").exists(), "else the wheel leaves it out"


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(ValueError, match="no metric 'bleu'.*ece"):
        load_metric("bleu")


def test_bits_per_byte_of_a_fair_coin_per_byte_is_one():
    metric = load_metric("bits_per_byte")
    nats = [3 * math.log(2), 5 * math.log(2)]
    assert metric.compute(predictions=nats, references=[3, 5])["bits_per_byte"] == pytest.approx(1)
    with pytest.raises(ValueError, match="no bytes"):
        metric.compute(predictions=[0.0], references=[0])


def test_answer_accuracy_by_hand():
    #           right  wrong  needless  right refusal  invented
    found = load_metric("answer_accuracy").compute(
        correct=[True, False, False, True, False],
        refused=[False, False, True, True, False],
        answerable=[True, True, True, False, False],
    )
    assert found == {
        "accuracy": pytest.approx(2 / 5),
        "refused_answerable": pytest.approx(1 / 3),
        "refused_unanswerable": pytest.approx(1 / 2),
        "refusal_precision": pytest.approx(1 / 2),
    }


def test_shares_without_rows_are_none():
    found = load_metric("answer_accuracy").compute(
        correct=[True], refused=[False], answerable=[True]
    )
    assert found["refused_unanswerable"] is None and found["refusal_precision"] is None


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        ([1.0, 1.0], [1, 1], 0.0),
        ([1.0, 1.0], [0, 0], 1.0),
        ([0.75] * 4, [1, 1, 1, 0], 0.0),
        ([0.95] * 2 + [0.55] * 2, [1, 0, 1, 1], 0.5 * 0.45 + 0.5 * 0.45),
        ([0.1, 0.11], [0, 1], 0.5 * 0.1 + 0.5 * 0.89),  # 0.1 belongs to the first bin
        ([0.0], [0], 0.0),
    ],
)
def test_ece_by_hand(confidence, right, expected):
    found = load_metric("ece").compute(predictions=confidence, references=right)
    assert found["ece"] == pytest.approx(expected)
    assert found["confidence"] == pytest.approx(sum(confidence) / len(confidence))


def test_ece_refuses_log_likelihoods():
    with pytest.raises(ValueError, match="not log-likelihoods"):
        load_metric("ece").compute(predictions=[-3.0], references=[1])


def test_pair_accuracy_counts_ties_half():
    found = load_metric("pair_accuracy").compute(predictions=[2, 1, 1], references=[1, 2, 1])
    assert found == {"accuracy": pytest.approx(0.5), "ties": pytest.approx(1 / 3)}


def test_repetition_finds_circles_and_answers_given_twice():
    circle = "I am a cat, I am a cat; I am a cat!"
    twice = "I am a cat, I am a cat."
    found = load_metric("repetition").compute(
        predictions=[circle, twice, "Yes.", "yes", "", "the the the the the the", "No, never."]
    )
    assert found["looping_flags"] == [True, False, False, False, False, True, False]
    assert found["same_answer_flags"] == [False, False, True, True, False, False, False]
    assert found["looping"] == found["same_answer"] == pytest.approx(2 / 7)
    with pytest.raises(ValueError, match="no answers"):
        load_metric("repetition").compute(predictions=[])


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("," * 48, True),
        (", " * 24, True),
        ("\N{GRINNING FACE}" * 12, True),
        ("Well" + "," * 44, True),
        ("我喜欢吃苹果和香蕉" * 3, True),
        ("人工智能是一种技术。很多人研究人工智能。人工智能很有用。", False),
        ("ฉันชอบกินแอปเปิลและกล้วย" * 3, True),
        ("...", False),
        ("No, no, no, no!", False),
        ("**Paris** and **Rome**", False),
        ('{"a": 1}, {"b": 2}, {"c": 3}, {"d": 4}, {"e": 5}', False),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", False),
        ("----------\nThe first of the two is right, I think.\n----------", False),
    ],
)
def test_circles_are_found_where_there_are_no_words(text, looping):
    found = load_metric("repetition").compute(predictions=[text])
    assert found["looping_flags"] == [looping]


def test_answers_without_words_are_the_same_where_their_signs_are():
    found = load_metric("repetition").compute(predictions=["??", "!!", "! !", ""])
    assert found["same_answer_flags"] == [False, True, True, False]

"""The `choices` task: equals a naive loop; forms of rows, chance, calibration."""

import pytest
import torch
from evaluation_rows import by_metric, total

from hfllm.evaluation.calibration import reliability
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import choices
from hfllm.evaluation.tasks.choices import as_options
from hfllm.inference.prompts import encode_prompt
from hfllm.tokenization.encode import encode_text


def test_choices_agree_with_a_naive_loop(tested):
    rows = [
        {
            "query": f"Question: Who is number {i}?",
            "choices": ["a baker", "cats", "x"],
            "gold": i % 3,
        }
        for i in range(9)
    ]
    found = by_metric(choices.score(tested, "quiz", TaskSpec("choices", rows))[0])
    plain = normed = 0
    for row in rows:
        context = encode_prompt(tested.tokenizer, row["query"] + "\nAnswer:")
        sums = [
            total(tested.model, context, encode_text(tested.tokenizer, " " + choice))
            for choice in row["choices"]
        ]
        rates = [s / len(choice) for s, choice in zip(sums, row["choices"], strict=True)]
        plain += sums.index(max(sums)) == row["gold"]
        normed += rates.index(max(rates)) == row["gold"]
    assert found["quiz", "acc"]["value"] == pytest.approx(plain / 9)
    assert found["quiz", "acc_norm"]["value"] == pytest.approx(normed / 9)
    assert found["quiz", "acc"]["n"] == 9


def test_minimal_pairs_are_compared_whole_and_per_field(tested):
    rows = [
        {"sentence_good": f"Who is {i}?", "sentence_bad": f"Who {i} is?", "field": field}
        for i, field in enumerate(("syntax", "syntax/semantics", "syntax_semantics"))
    ]
    found = by_metric(choices.score(tested, "blimp", TaskSpec("choices", rows))[0])
    n = {key: row["n"] for key, row in found.items()}
    assert n == {
        ("blimp", "acc"): 3, ("blimp/syntax", "acc"): 1, ("blimp/syntax_semantics", "acc"): 2
    }  # fmt: skip


def test_the_forms_of_choice_rows():
    blimp = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps."}
    assert as_options(blimp) == ([("", "Cats sleep."), ("", "Cats sleeps.")], 0)
    schema = {"context_options": ["A cat", "A dog"], "continuation": "meowed.", "gold": 0}
    assert as_options(schema) == ([("A cat", " meowed."), ("A dog", " meowed.")], 0)
    goal = {"query": "Question: dresser\n", "choices": ["a", "b"], "gold": 1}
    assert as_options(goal)[0][0] == ("Question: dresser\nAnswer:", " a")
    letters = {"query": "Q?\nA. x\nB. y\nAnswer:", "choices": ["A", "B"], "gold": 1}
    assert as_options(letters) == ([(letters["query"], " A"), (letters["query"], " B")], 1)
    with pytest.raises(ValueError, match="row \\?: the columns question, gold are no row of"):
        as_options({"question": "?", "gold": 0})
    for broken in ({"query": "a", "choices": ["b"], "answerKey": 0}, {"sentence_good": "Cats."}):
        with pytest.raises(ValueError, match=r"row \?: the columns .* are no row of a `choices`"):
            as_options(broken)
    with pytest.raises(ValueError, match="row 7: gold 2 is none of 2 choices"):
        as_options(goal | {"gold": 2, "id": "7"})


def test_choices_stand_beside_chance_and_calibration_and_tell_each_row(tested):
    rows = [
        {"id": f"q{i}", "query": f"Who is {i}?", "choices": [f"a {i}", "cats", "x"], "gold": 0}
        for i in range(6)
    ]
    results, items = choices.score(tested, "quiz", TaskSpec("choices", rows))
    found = by_metric(results)
    assert found["quiz", "acc"]["chance"] == found["quiz", "acc_norm"]["chance"] == 1 / 3
    assert "chance" not in found["quiz", "ece"] and found["quiz", "ece"]["n"] == 6
    for item, row in zip(items, rows, strict=True):
        chances = torch.tensor(item["logprobs"], dtype=torch.float64).softmax(0)
        assert item["id"] == row["id"] and item["right"] == (int(chances.argmax()) == 0)
        assert item["confidence"] == pytest.approx(float(chances.max()))
    bins = reliability([(item["confidence"], item["right"]) for item in items])
    assert sum(one["n"] for one in bins) == 6
    gap = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 6
    assert gap == pytest.approx(found["quiz", "ece"]["value"])

"""Rows with a label, and pairs, as answers that are good or bad."""

import gzip
import json
from pathlib import Path

import pytest

from hfllm.data.ledger import DataError, Drop, Ledger
from hfllm.data.reading.examples import read_labelled
from hfllm.data.reading.labelled import as_labelled, label_of
from hfllm.recipe.config import SourceConfig
from tiny import write_jsonl

ASK, SAY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
REAL = Path(__file__).parents[4] / "shared/data/preference/kto_en_demo.jsonl.gz"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi?", "completion": "Hello."},  # TRL's
        {"prompt": [ASK], "completion": [SAY]},
        {"prompt": "Hi?", "response": "Hello."},
        {"messages": [ASK, SAY]},  # LLaMA-Factory's
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]},
        {"instruction": "Hi?", "output": "Hello."},
    ],
)
def test_a_labelled_answer_in_any_format(row):
    good, bad = (as_labelled(row | {"label": label, "id": "a"}) for label in (True, 0))
    assert good == {"id": "a", "prompt": [ASK], "chosen": [SAY]}
    assert bad == {"id": "a", "prompt": [ASK], "rejected": [SAY]}


def test_a_pair_gives_both_and_one_side_of_it_one():
    pair = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}
    both = as_labelled(pair)
    assert both["chosen"] == [SAY] and both["rejected"][0]["content"] == "No."
    assert as_labelled(pair | {"rejected": None}) == {"prompt": [ASK], "chosen": [SAY]}
    alone = as_labelled(pair | {"chosen": None})
    assert as_labelled(alone) == alone  # what a step writes can be read
    assert as_labelled(pair | {"chosen": ""}) == Drop("empty_answer")
    human = {"instruction": "Hi?", "input": "", "response1": "No.", "response2": "Hello."}
    assert as_labelled(human | {"label": 2})["chosen"] == [SAY]  # PandaLM's label is another
    assert as_labelled(human | {"label": 0}) == Drop("tie")


def test_turns_before_it_and_a_system_text_are_its_prompt():
    found = as_labelled({"messages": [ASK, SAY, ASK, SAY], "label": True, "system": "Be kind."})
    assert [one["role"] for one in found["prompt"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("value", "label"),
    [(True, True), (1, True), (1.0, True), ("true", True), ("True", True), ("1", True),
     (False, False), (0, False), (0.0, False), ("FALSE", False), ("0", False)],
)  # fmt: skip
def test_labels(value, label):
    assert label_of(value) is label


@pytest.mark.parametrize("value", [-1, 2, 0.5, "good", "yes", "", None, [True], {"a": 1}])
def test_what_is_no_label_is_refused(value):
    with pytest.raises(DataError, match=r"label is .*, not true \(a good answer\) or false"):
        label_of(value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "a", "completion": "b"}, "no column prompt.completion.label or .*a chat"),
        ({"prompt": "a", "completion": "b", "label": None}, "label is None"),
        ({"messages": [SAY], "label": 1}, "is by assistant, must be by user"),
        ({"messages": [ASK], "label": 1}, "the last message must be by assistant"),
        ({"prompt": "a", "completion": "b", "label": 1, "images": ["x"]}, "'images' .no text."),
    ],
)
def test_other_rows_are_refused_in_one_line(row, words):
    with pytest.raises(DataError, match=words) as caught:
        as_labelled(row)
    assert "\n" not in str(caught.value)


def test_what_teaches_nothing_is_dropped():
    assert as_labelled({"prompt": "a", "completion": " ", "label": 1}) == Drop("empty_answer")
    row = {"prompt": "a", "completion": "b", "label": 1}
    assert as_labelled(row | {"weight": 0}) == Drop("weight_0")
    assert as_labelled(row | {"tools": [{"type": "function", "function": {"name": "f"}}]}) == (
        Drop("tool_role")
    )


def test_a_csv_and_its_ledger(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,completion,label\nHi?,Hello.,true\nHi?,No.,false\n")
    ledger = Ledger()
    found = list(read_labelled([SourceConfig(path=str(tmp_path / "a.csv"))], Path, ledger))
    assert ["chosen" in one for one in found] == [True, False]
    assert [one.bytes for one in found] == [9, 6]
    write_jsonl(tmp_path / "b.jsonl", [{"prompt": "a", "completion": "b", "label": "good"}])
    with pytest.raises(DataError, match=r"b.jsonl:1: label is 'good'"):
        list(read_labelled([SourceConfig(path=str(tmp_path / "b.jsonl"))], Path, ledger))


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/data")
def test_every_row_of_a_published_file_is_read_with_its_label():
    with gzip.open(REAL, "rt") as file:
        labels = [json.loads(line)["label"] for line in file]
    found = list(read_labelled([SourceConfig(path=str(REAL))], Path, Ledger()))
    assert ["chosen" in one for one in found] == labels and {True, False} == set(labels)

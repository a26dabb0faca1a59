"""Rows of published tests: read as what they are, or refused in one line with file and row."""

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from evaluation_rows import by_metric

from hfllm.data.ledger import DataError, Ledger
from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.folder import evaluate_folder, read_tasks
from hfllm.evaluation.graders import is_correct
from hfllm.evaluation.read_tests import read_test
from hfllm.evaluation.shapes import SHAPES, as_test_row, kind_of
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import replies
from hfllm.evaluation.tasks.choices import as_options
from hfllm.recipe.config import SourceConfig
from hfllm.tokenization.render import render

MMLU = "What is 2 + 2?\nA. 3\nB. 4\nAnswer:"
CHOICES = [  # (a row of a published test, its options and the right one)
    (
        {"question": "Which?", "choices": {"text": ["red", "stone"], "label": ["1", "2"]},
         "answerKey": "1"},
        [("Question: Which?\nAnswer:", " red"), ("Question: Which?\nAnswer:", " stone")], 0,
    ),
    (
        {"question_stem": "Which?", "choices": {"text": ["red", "stone"], "label": ["A", "B"]},
         "answerKey": "B"},
        [("Question: Which?\nAnswer:", " red"), ("Question: Which?\nAnswer:", " stone")], 1,
    ),
    (
        {"query": "Which?", "gold": "2",
         "choices": {"text": ["red", "stone"], "label": ["1", "2"]}},
        [("Which?", " red"), ("Which?", " stone")], 1,
    ),
    (
        {"question": "What is 2 + 2?", "choices": ["3", "4"], "answer": 1, "subject": "math"},
        [(MMLU, " A"), (MMLU, " B")], 1,
    ),
    (
        {"ctx": "A boy runs. he", "ctx_a": "A boy runs.", "ctx_b": "he", "label": "1",
         "activity_label": "Run", "endings": ["stops.", "wins [step] it."], "ind": 3},
        [("Run: A boy runs. He", " stops."), ("Run: A boy runs. He", " wins it.")], 1,
    ),
    (
        {"sentence": "Ann thanked Eve because _ had helped.", "option1": "Ann", "option2": "Eve",
         "answer": "2"},
        [("Ann thanked Eve because Ann", " had helped."),
         ("Ann thanked Eve because Eve", " had helped.")], 1,
    ),
    (
        {"goal": "Open it.", "sol1": "Pull.", "sol2": "Sing.", "label": 0},
        [("Question: Open it.\nAnswer:", " Pull."), ("Question: Open it.\nAnswer:", " Sing.")], 0,
    ),
    ({"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "UID": "x"},
     [("", "Cats sleep."), ("", "Cats sleeps.")], 0),
    (
        {"article": "Ada bakes.", "question": "Who?", "options": ["Ada", "Eve"], "answer": "B"},
        [("Ada bakes.\nWho?\nA. Ada\nB. Eve\nAnswer:", " A"),
         ("Ada bakes.\nWho?\nA. Ada\nB. Eve\nAnswer:", " B")], 1,
    ),
    (
        {"question": "How much?", "options": ["A)10", "B)21"], "rationale": "x", "correct": "B"},
        [("How much?\nA. 10\nB. 21\nAnswer:", " A"), ("How much?\nA. 10\nB. 21\nAnswer:", " B")],
        1,
    ),
    (
        {"question": "Q", "mc1_targets": {"choices": ["no", "yes"], "labels": [0, 1]}},
        [("Question: Q\nAnswer:", " no"), ("Question: Q\nAnswer:", " yes")], 1,
    ),
    ({"query": "Q", "choices": {"A": "x", "B": "y"}, "gold": "B"}, [("Q", " x"), ("Q", " y")], 1),
    ({"query": "Q", "choices": [3, 4], "gold": 1.0}, [("Q", " 3"), ("Q", " 4")], 1),
]  # fmt: skip


@pytest.mark.parametrize(("row", "options", "gold"), CHOICES)
def test_multiple_choice_of_published_tests_is_read_as_what_it_is(row, options, gold):
    assert kind_of(row) == "choices"
    made = as_test_row(row, "choices")
    assert as_options(made) == as_options(row) == (options, gold)


QUERY = {"query": "Which?", "choices": ["red", "stone", "nine"]}


@pytest.mark.parametrize(
    ("gold", "index"),
    [(0, 0), (2, 2), ("1", 1), ("A", 0), ("C", 2), (2.0, 2), ("stone", 1), ("nine", 2)],
)
def test_the_right_choice_is_named_by_place_letter_or_text(gold, index):
    assert as_options(QUERY | {"gold": gold})[1] == index


@pytest.mark.parametrize(
    "change",
    [
        {"gold": 3}, {"gold": -1}, {"gold": "D"}, {"gold": ""}, {"gold": True}, {"gold": 0.5},
        {"gold": [0]}, {"gold": "blue"}, {"gold": 0, "choices": ["red", ""]},
        {"gold": 0, "choices": ["red", "stone", None]}, {"gold": 0, "choices": []},
        {"gold": 0, "choices": ["red"]}, {"gold": 0, "choices": "red"},
        {"gold": 0, "choices": {"a": 1}}, {"gold": "1", "choices": ["1", "2", "3"]},
        {"gold": "3", "choices": {"text": ["red", "nine"], "label": ["1", "2"]}},
        {"gold": "1", "choices": {"text": ["red", "nine"], "label": ["1", "1"]}},
        {"gold": 0, "query": 7}, {"gold": None}, {"gold": float("nan")},
    ],
)  # fmt: skip
def test_any_other_choice_or_gold_is_refused_with_file_and_row(tmp_path, change):
    path = tmp_path / "quiz.jsonl"
    rows = [QUERY | {"gold": 0}, QUERY | change]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError) as caught:
        for row in read_test(SourceConfig(path=str(path)), "choices", Path, Ledger()):
            as_options(row)
    assert "quiz.jsonl:2: " in str(caught.value) and "\n" not in str(caught.value)


ANSWERS = [  # (row, prompt, a right answer)
    ({"question": "How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}, "How many?", "So 7."),
    ({"question": "How many?", "answer": "...", "final": "1,200"}, "How many?", "It is 1200."),
    (
        {"question": "Where?", "answer": {"value": "York", "aliases": ["Eboracum"]}},
        "Where?", "In Eboracum.",
    ),
    (
        {"question": "Who?", "context": "Ada bakes.", "title": "x",
         "answers": {"text": ["Ada"], "answer_start": [0]}},
        "Who?\n\nAda bakes.", "Ada.",
    ),
    ({"question": "How many?", "answer": "9 (apples)"}, "How many?", "Nine, that is 9."),
    ({"question": "How many?", "final": "1", "type": "x"}, "How many?", "1"),
    ({"task": "x", "input": "Which?", "target": "(A)"}, "Which?", "It is (A)."),
    ({"question": "Is it?", "answer": True}, "Is it?", "Yes."),
    ({"prompt": "Who?", "answer": "Ada", "check": "exact"}, "Who?", "ada."),
    ({"prompt": [{"from": "human", "value": "Who?"}], "answer": "Ada"}, "Who?", "Ada bakes."),
]  # fmt: skip


@pytest.mark.parametrize(("row", "prompt", "right"), ANSWERS)
def test_questions_of_published_tests_are_read_as_what_they_are(row, prompt, right):
    assert kind_of(row) == "answers"
    made = as_test_row(row, "answers")
    assert made["prompt"] in (prompt, [{"role": "user", "content": prompt}])
    assert is_correct({"check": "contains", **made}, right)
    assert not is_correct({"check": "contains", **made}, "It is a crow, no. 99.")


def test_a_question_that_ends_with_answer_is_asked_as_it_is():
    row = {"context": "Question: Who?\nAnswer:", "answer": "Ada", "aliases": ["Eve"]}
    made = as_test_row(row, kind_of(row))
    assert made["plain"] == row["context"] and is_correct(made, "Eve.")
    with pytest.raises(DataError, match='must end with "Answer:"'):
        as_test_row(row | {"context": "Ada bakes."}, "answers")


@pytest.mark.parametrize("column", ["context", "passage", "article"])
def test_the_text_that_a_question_is_about_is_read_or_refused(column):
    row = {"question": "Who bakes?", column: "Ada bakes.", "answer": "Ada"}
    (message,) = as_test_row(row, "answers")["prompt"]
    assert message["content"] == "Who bakes?\n\nAda bakes."
    asked = {"prompt": "Ada bakes. Who?", column: "Ada bakes.", "answer": "Ada"}
    assert as_test_row(asked, "answers")["prompt"][0]["content"] == "Ada bakes. Who?"
    with pytest.raises(DataError, match="is not in the `prompt`: put it there"):
        as_test_row(asked | {"prompt": "Who?"}, "answers")


def test_choices_that_are_all_one_text_are_refused():
    with pytest.raises(DataError, match="all 2 `choices` are 'a': give two"):
        as_test_row({"query": "Who?", "choices": ["a", "a"], "gold": 0}, "choices")
    as_test_row({"query": "Who?", "choices": ["a", "b", "a"], "gold": 1}, "choices")


def test_every_kind_but_two_has_a_shape_and_every_message_is_one_line():
    assert set(TASK_KINDS) - {shape.kind for shape in SHAPES} == {"bits_per_byte", "preference"}
    for row in ({"question": "Why?"}, {}, {"chosen": "a", "rejected": "b"}):
        with pytest.raises(DataError) as caught:
            kind_of(row)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


CORE = Path(__file__).parents[3] / "shared" / "data" / "eval" / "core"


@pytest.mark.parametrize("name", ["arc_easy", "hellaswag", "winogrande", "piqa", "copa"])
def test_rows_of_the_core_tests(name):
    path = CORE / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert {kind_of(row) for row in rows} == {"choices"}
    assert all(len(as_options(as_test_row(row, "choices"))[0]) >= 2 for row in rows)


CHATS = [
    {"messages": [{"role": "user", "content": f"Who is number {i}?"},
                  {"role": "assistant", "content": f"Number {i} is a baker."}]}
    for i in range(4)
]  # fmt: skip


def test_own_chats_are_scored_on_their_replies_and_answered_anew(folders, tmp_path, capsys):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in CHATS))
    out = tmp_path / "out"
    table = evaluate_folder(folders["sft"], [path], max_new_tokens=4, out=out)
    assert "reply_loss" in table and "looping" in table
    said = capsys.readouterr().out
    assert "chats: 4 rows, read as a test of the kind `replies`" in said
    assert "sft: chats: 4 of 4 answers were cut at 4 tokens; raise max_new_tokens" in said
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [sample["prompt"] for sample in samples] == [f"Who is number {i}?" for i in range(4)]


def test_one_test_has_no_second_block_of_means_over_all_answers(folders, tmp_path):
    path, other = tmp_path / "facts.jsonl", tmp_path / "more.jsonl"
    for file in (path, other):
        file.write_text(json.dumps({"prompt": "Who?", "answer": "Ada"}) + "\n")
    assert "all_answers" not in evaluate_folder(folders["sft"], [path], max_new_tokens=4)
    assert "all_answers" in evaluate_folder(folders["sft"], [path, other], max_new_tokens=4)


def test_pairs_are_refused_whatever_columns_stand_beside_them():
    for row in ({"prompt": "Who?"}, {"messages": [{"role": "user", "content": "Who?"}]}):
        with pytest.raises(DataError, match="preference pairs test a reward model"):
            kind_of(row | {"chosen": "a", "rejected": "b"})


def test_the_loss_on_replies_is_that_of_the_trained_tokens(tested, tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in CHATS))
    rows = read_tasks([path])["chats"].rows
    assert [row["reply"] for row in rows] == [row["messages"][1]["content"] for row in CHATS]
    samples = replies.ask(tested, "chats", TaskSpec("replies", rows, None, 4))
    nats = tokens = 0.0
    for row in CHATS:
        rendered = render(tested.tokenizer, row["messages"], train="last")
        with torch.no_grad():
            logits = tested.model(torch.tensor([rendered.input_ids])).logits[0].log_softmax(-1)
        for at, (token, trained) in enumerate(
            zip(rendered.input_ids, rendered.trained, strict=True)
        ):
            if trained:
                nats, tokens = nats - float(logits[at - 1, token]), tokens + 1
    found = by_metric(replies.summarize(samples))["chats", "reply_loss"]
    assert found["n"] == 4 and math.isclose(found["value"], nats / tokens, rel_tol=1e-5)


def test_choices_that_bring_their_letters_keep_every_line_of_their_text():
    lines = ["A) x = 1\n   y = 2", "(B) a\n\nb"]
    row = {"question": "Which?", "options": lines, "answer": "B"}
    ((query, _), *_), gold = as_options(as_test_row(row, "choices"))
    assert gold == 1
    assert query == "Which?\nA. x = 1\n   y = 2\nB. a\n\nb\nAnswer:"

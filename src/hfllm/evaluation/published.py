"""Rows of multiple choice as published, converted to ours: `query`, `choices` and `gold`.

Questions and choices are put as lm-eval puts them, without examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hfllm.data.ledger import DataError
from hfllm.evaluation.accepted import BAD_TEST
from hfllm.evaluation.multiple_choice import gold_of, labelled, letters
from hfllm.evaluation.specs import TestRow

GIVEN = ("context", "passage", "article")  # columns of a text that a question is about


def text_of(row: TestRow, column: str) -> str:
    """A column that must be text; DataError if it is not."""
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"`{column}` is a text, found {value!r:.60}")
    return value


def given_text(row: TestRow) -> str:
    """The text that a question is about, from the row's column for it, or ""."""
    found = [column for column in GIVEN if row.get(column) not in (None, "")]
    return "\n\n".join(text_of(row, column) for column in found)


def query(row: TestRow) -> TestRow:
    """Our own form; the choices become texts, the right one a place."""
    texts, labels = labelled(row["choices"])
    gold = gold_of(row["gold"], texts, labels)
    return {"query": text_of(row, "query"), "choices": texts, "gold": gold}


def pair(row: TestRow) -> TestRow:
    """BLiMP's minimal pair."""
    return {key: text_of(row, key) for key in ("sentence_good", "sentence_bad")}


def contexts(row: TestRow) -> TestRow:
    """One text after each of several contexts."""
    texts, _ = labelled(row["context_options"], "context_options")
    gold = gold_of(row["gold"], texts, None)
    return {"context_options": texts, "continuation": text_of(row, "continuation"), "gold": gold}


def arc(row: TestRow) -> TestRow:
    """ARC, CommonsenseQA, OpenBookQA: the texts of the choices are scored."""
    question = text_of(row, "question" if row.get("question") else "question_stem")
    texts, labels = labelled(row["choices"])
    given = f"{given_text(row)}\n\n" if given_text(row) else ""
    gold = gold_of(row["answerKey"], texts, labels)
    return {"query": f"{given}Question: {question}\nAnswer:", "choices": texts, "gold": gold}


def truthfulqa(row: TestRow) -> TestRow:
    """TruthfulQA's single-answer form: the right choice is marked with 1."""
    targets = row["mc1_targets"] if isinstance(row["mc1_targets"], dict) else {}
    texts, _ = labelled(targets.get("choices"), "mc1_targets")
    marks = targets.get("labels")
    if not isinstance(marks, list) or len(marks) != len(texts) or marks.count(1) != 1:
        raise DataError(f"`mc1_targets` marks one choice with 1, found {marks!r:.60}", BAD_TEST)
    query = f"Question: {text_of(row, 'question')}"
    return {"query": query, "choices": texts, "gold": marks.index(1)}


def lettered(choices: str, gold: str) -> Callable[[TestRow], TestRow]:
    """As lm-eval asks MMLU: the choices in the question with letters, and the letters are scored.

    `choices` and `gold` are the row's columns; choices that bring their letters ("A)10") lose them.
    """

    def convert(row: TestRow) -> TestRow:
        given = [row[name] for name in letters(4)] if choices == "A" else row[choices]
        texts, labels = labelled(given, choices)
        names = letters(len(texts))
        with_name = (rf"\(?{name}[).:]\s*(\S.*)" for name in names)
        own = [re.match(p, t, re.DOTALL) for p, t in zip(with_name, texts, strict=True)]
        texts = [match[1] for match in own if match] if all(own) else texts
        lines = [f"{name}. {text}" for name, text in zip(names, texts, strict=True)]
        about = [given_text(row)] if given_text(row) else []
        query = "\n".join([*about, text_of(row, "question").strip(), *lines, "Answer:"])
        return {"query": query, "choices": names, "gold": gold_of(row[gold], texts, labels)}

    return convert


def hellaswag(row: TestRow) -> TestRow:
    """An activity, the beginning of a scene, and its endings."""

    def clean(text: str) -> str:  # lm-eval's
        text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
        return text.replace("  ", " ")

    texts, labels = labelled(row["endings"], "endings")
    context = text_of(row, "ctx")
    if row.get("ctx_b"):
        context = f"{row.get('ctx_a', '')} {text_of(row, 'ctx_b').capitalize()}"
    topic = f"{row['activity_label']}: " if row.get("activity_label") else ""
    gold = gold_of(row["label"], texts, labels)
    return {"query": clean(topic + context), "choices": [*map(clean, texts)], "gold": gold}


def winogrande(row: TestRow) -> TestRow:
    """The two sentences that the options make, scored on what follows the blank."""
    before, blank, after = text_of(row, "sentence").partition("_")
    if not blank or str(row["answer"]) not in ("1", "2"):
        raise DataError("WinoGrande's `sentence` has a _ and its `answer` is 1 or 2")
    options = [before + text_of(row, key) for key in ("option1", "option2")]
    return {
        "context_options": options, "continuation": after.strip(), "gold": int(row["answer"]) - 1
    }  # fmt: skip


def piqa(row: TestRow) -> TestRow:
    """A goal and two ways to reach it."""
    texts = [text_of(row, "sol1"), text_of(row, "sol2")]
    gold = gold_of(row["label"], texts, None)
    return {"query": f"Question: {text_of(row, 'goal')}", "choices": texts, "gold": gold}

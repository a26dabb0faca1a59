"""The `answers` task: prompts, grades, results."""

import pytest
from evaluation_rows import answer_row, by_metric, said

from hfllm.evaluation.model_under_test import prompt_of
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import answers
from hfllm.evaluation.tasks.answers import summarize, summarize_all


def test_prompts_for_chat_and_base_models():
    row = answer_row(4)
    assert prompt_of(row, chat=True) == row["prompt"]
    assert prompt_of(row, chat=False) == row["plain"]
    assert prompt_of({"prompt": "Why?"}, chat=True) == [{"role": "user", "content": "Why?"}]
    assert prompt_of({"prompt": "Why?"}, chat=False) == "Question: Why?\nAnswer:"
    with pytest.raises(ValueError, match="row '7' has neither `prompt` nor `plain`"):
        prompt_of({"id": "7", "question": "Why?"}, chat=True)


def test_answers_are_marked_and_summed_up(tested):
    rows = [
        answer_row(0),
        answer_row(1),
        answer_row(2),
        answer_row(3, answerable=False, answer="I do not know.", choices=None, check="refusal"),
    ]
    said(tested, ["He is a baker.", "A weaver.", "I do not know him.", "I do not know him."])
    samples = answers.ask(tested, "mixed", TaskSpec("answers", rows))
    assert [s.correct for s in samples] == [True, False, False, True]
    assert [s.refused for s in samples] == [False, False, True, True]
    assert [s.confidence is None for s in samples] == [False, False, False, True]
    found = by_metric(summarize(samples))
    assert found["mixed", "accuracy"]["value"] == 0.5
    assert found["mixed", "refused_answerable"]["value"] == pytest.approx(1 / 3)
    assert found["mixed", "refused_unanswerable"]["value"] == 1.0
    assert found["mixed", "refusal_precision"]["value"] == 0.5
    assert found["mixed", "true_score"]["value"] == 0.5
    assert found["mixed", "ended"]["value"] == 1.0
    assert found["mixed", "ece"]["n"] == found["mixed", "choice_accuracy"]["n"] == 3
    seen, unseen = (found[f"mixed/{k}_in_chats", "accuracy"] for k in ("seen", "unseen"))
    assert seen["n"] + unseen["n"] == 4 and seen["value"] == unseen["value"] == 0.5
    line = samples[0].to_json()
    assert line["prompt"] == "Who is number 0?" and line["output"] == "He is a baker."
    assert "row" not in line
    assert by_metric(summarize_all(samples))["all_answers", "accuracy"]["n"] == 4

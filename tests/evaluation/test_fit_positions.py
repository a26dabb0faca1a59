"""Test rows longer than the model: what is cut is said, what cannot be scored is named."""

import pytest

from hfllm.data.ledger import Example
from hfllm.evaluation.run import _say_if_cut
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import choices, continuation, replies
from hfllm.inference.prompts import positions


def test_a_context_that_is_cut_is_counted_and_said(tested, capsys):
    long = "word " * positions(tested.model)
    rows = [{"query": text, "choices": ["a", "b"], "gold": 0} for text in (long, "Who?")]
    choices.score(tested, "quiz", TaskSpec("choices", rows))
    assert "sft: quiz: 2 of 4 contexts exceed the model's" in capsys.readouterr().out
    rows = [{"context": text, "continuation": "end"} for text in (long, "The")]
    continuation.score(tested, "last", TaskSpec("continuation", rows))
    assert "sft: last: 1 of 2 contexts exceed the model's" in capsys.readouterr().out
    continuation.score(tested, "last", TaskSpec("continuation", rows[1:]))
    assert "exceed" not in capsys.readouterr().out


def test_a_continuation_longer_than_the_model_names_its_row(tested):
    long = "word " * positions(tested.model)
    quiz = Example({"query": "Who?", "choices": [long, "b"], "gold": 0}, "quiz.jsonl: row 7")
    with pytest.raises(ValueError, match=r"^quiz.jsonl: row 7.*: a continuation of .* exceeds"):
        choices.score(tested, "quiz", TaskSpec("choices", [quiz]))
    last = Example({"context": "The", "continuation": long}, "last.jsonl: row 8")
    with pytest.raises(ValueError, match=r"^last.jsonl: row 8.*: a continuation of .* exceeds"):
        continuation.score(tested, "last", TaskSpec("continuation", [last]))


def test_a_prompt_that_leaves_no_room_is_said_without_advice_on_tokens(tested, capsys):
    rows = [{"prompt": [{"role": "user", "content": "word " * positions(tested.model)}]}]
    _say_if_cut(replies.ask(tested, "open", TaskSpec("replies", rows)))
    said = capsys.readouterr().out
    assert "sft: open: 1 of 1 prompts fill the model's positions and leave no room" in said
    assert "max_new_tokens" not in said

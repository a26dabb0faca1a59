"""Test rows longer than the model: what is cut is said, what cannot be scored is named."""

import pytest

from hfllm.data.ledger import Example
from hfllm.evaluation.run import _say_if_cut
from hfllm.evaluation.specs import TaskSpec
from hfllm.evaluation.tasks import answers, choices, continuation, replies
from hfllm.inference.prompts import encode_prompt, positions
from hfllm.inference.relevance import RelevanceJudge
from hfllm.inference.reward_model import open_reward_model


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


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


def test_a_prompt_that_is_cut_before_its_reply_or_a_choice_is_said(tested, capsys):
    limit, fills = positions(tested.model), ""
    while len(encode_prompt(tested.tokenizer, asked(fills))) < limit - 8:
        fills += "a "
    rows = [{"prompt": asked(text), "reply": "yes " * 12} for text in (fills, "Who?")]
    replies.ask(tested, "open", TaskSpec("replies", rows, None, 1))
    said = "sft: open: 1 of 2 prompts with their reply exceed the model's"
    assert said in capsys.readouterr().out
    choice = {"choices": ["a " * 24, "b"], "answer": "b"}
    rows = [choice | {"prompt": asked(text)} for text in (fills, "Who?")]
    answers.ask(tested, "facts", TaskSpec("answers", rows, None, 1))
    said = "sft: choices: 1 of 4 prompts with an answer and a choice exceed the model's"
    assert said in capsys.readouterr().out
    long = Example(choice | {"prompt": "Who?", "choices": ["a " * limit, "b"]}, "x.jsonl:3")
    with pytest.raises(ValueError, match=r"^x.jsonl:3 .*: a continuation of .* exceeds"):
        answers.ask(tested, "facts", TaskSpec("answers", [long], None, 1))


def test_what_scores_answers_says_what_it_does_not_see(tested, folders, capsys):
    """Once without a label, as in RL; each time with one."""
    judge = RelevanceJudge(tested.model, tested.tokenizer)
    scorer = open_reward_model(folders["reward"])
    long = "word " * positions(tested.model)
    chats = [
        ([*asked(text), {"role": "assistant", "content": "Ada."}], True) for text in (long, "")
    ]
    for label, times in ((None, 1), ("mine", 2)):
        for answer in ("Ada.", "Eve."):
            scorer.score(chats, label)
            judge.nats([asked(long), asked("Who?")], [answer, long], [None, None], label)
        out = capsys.readouterr().out
        assert out.count(f"{label or 'reward'}: 1 of 2 conversations exceed the model's") == times
        assert out.count(f"{label or 'judge'}: 1 of 2 answers exceed the model's") == times
        assert out.count("their end was cut") == times
        assert out.count("2 of 2 prompts with their answer exceed the model's") == times
    scorer.score(chats[1:], "mine")
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

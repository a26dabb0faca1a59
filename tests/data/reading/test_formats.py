"""Each data format, on a row as it is published."""

import pytest

from hfllm.data.ledger import DataError, Drop
from hfllm.data.reading.formats import as_chat, as_document, as_pair, as_prompt

ASK, SAY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
NO = {"role": "assistant", "content": "No."}
SHAREGPT = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]
TRANSCRIPT = "\n\nHuman: Hi?\n\nAssistant: "
HH = "\n\nHuman: Hi?\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant:{}"


def chat(*roles: str) -> dict:
    return {"messages": [{"role": role, "content": role} for role in roles]}


def test_documents():
    assert as_document({"text": "a", "html": "<p>a", "n": 1}) == {"text": "a", "n": 1}
    assert as_document({"text": "a", "html": "<p>a", "n": 1}, "html") == {"html": "<p>a", "n": 1}
    assert as_document({"html": "<p>a"}) == {"html": "<p>a"}
    assert as_document({"text": " \n"}) == Drop("empty")
    with pytest.raises(DataError, match="no column text or html; the row has: body, n"):
        as_document({"body": "a", "n": 1})
    with pytest.raises(DataError, match="column 'text' is null"):
        as_document({"text": None})


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [ASK, SAY]}, [ASK, SAY]),
        ({"conversations": SHAREGPT}, [ASK, SAY]),
        ({"instruction": "Hi?", "input": "", "output": "Hello."}, [ASK, SAY]),
        ({"question": "Hi?", "answer": "Hello."}, [ASK, SAY]),
        ({"prompt": "Hi?", "response": "Hello."}, [ASK, SAY]),
        (
            {"question": "Hi?", "answer": "9 * 2 = $<<9*2=18>>18\n#### 18", "final": "18"},
            [ASK, {"role": "assistant", "content": "9 * 2 = $18\n#### 18"}],
        ),
    ],
)  # fmt: skip
def test_chats(row, messages):
    out = as_chat(row | {"id": "1", "kind": "k"})
    assert out["messages"] == messages
    assert (out["id"], out["kind"]) == ("1", "k")


def test_alpaca_input_follows_the_instruction():
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert as_chat(row)["messages"][0]["content"] == "Add.\n\n1 2"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chat("user"), "no_assistant_turn"),
        (chat(), "no_assistant_turn"),
        ({"instruction": "Hi?", "output": " "}, "empty_answer"),
        ({"instruction": "", "output": "Hello."}, "empty_turn"),
    ],
)
def test_useless_chats_are_dropped(row, reason):
    assert as_chat(row) == Drop(reason)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (chat("assistant", "user", "assistant"), "message 1 of 3 is by assistant, must be by user"),
        (
            chat("system", "user", "user", "assistant"),
            "message 3 of 4 is by user, must be by assistant",
        ),
        (chat("user", "assistant", "user"), "the last message must be by assistant"),
        (chat("user", "critic"), r"messages\[1\] has the unknown role 'critic'"),
        ({"messages": "Hi?"}, "where|by assistant|no"),
        ({"messages": [{"role": "user", "content": None}]}, "has null as content"),
        ({"messages": 3}, "'messages' is of type int, not a list"),
        (chat("user", "tool", "assistant"), "message 2 of 3 is by tool, must be by assistant"),
        (
            {"conversations": [{"from": "function_call", "value": "{}"}]},
            r"conversations\[0\] has a call without the name of a function",
        ),
    ],
)
def test_malformed_chats_are_errors(row, message):
    if row == {"messages": "Hi?"}:
        assert as_chat(row) == Drop("no_assistant_turn")
        return
    with pytest.raises(DataError, match=message):
        as_chat(row)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
        {"prompt": [ASK], "chosen": [SAY], "rejected": [NO]},
        {"chosen": [ASK, SAY], "rejected": [ASK, NO]},
        {"prompt": "Hi?", "chosen": [ASK, SAY], "rejected": [ASK, NO]},
        {"chosen": TRANSCRIPT + "Hello.", "rejected": TRANSCRIPT + "No."},
        {
            "conversations": [{"from": "human", "value": "Hi?"}],
            "chosen": {"from": "gpt", "value": "Hello."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {"instruction": "Hi?", "input": "", "response1": "No.", "response2": "Hello.", "label": 2},
    ],
)  # fmt: skip
def test_pairs(row):
    out = as_pair(row | {"id": "1"})
    assert out["prompt"] == [ASK]
    assert out["chosen"] == [SAY]
    assert out["rejected"] == [NO]
    assert "conversations" not in out and "response1" not in out and out["id"] == "1"


def test_a_pair_keeps_what_its_prompt_says_before_the_conversation():
    system = {"role": "system", "content": "Be brief."}
    pair = {"prompt": [system, ASK], "chosen": [ASK, SAY], "rejected": [ASK, NO]}
    assert as_pair(pair)["prompt"] == [system, ASK]
    whole = {"prompt": [ASK], "chosen": [system, ASK, SAY], "rejected": [system, ASK, NO]}
    assert as_pair(whole)["prompt"] == [system, ASK]
    with pytest.raises(DataError, match="'prompt' and the conversation in 'chosen' differ"):
        as_pair(pair | {"prompt": [system, SAY]})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "a", "input": "", "response1": "b", "response2": "c", "label": 0}, "tie"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "empty_answer"),
        ({"chosen": HH.format(" b"), "rejected": HH.format("")}, "empty_answer"),
        ({"chosen": HH.format(" b"), "rejected": TRANSCRIPT + "No."}, "differ_earlier"),
        ({"chosen": HH.format(" b"), "rejected": HH.format(" c\n\nAssistant: d")}, "double_turn"),
        ({"chosen": HH.format(" b"), "rejected": "\n\nHuman: Hi?"}, "no_assistant_turn"),
    ],
)  # fmt: skip
def test_useless_pairs_are_dropped(row, reason):
    assert as_pair(row) == Drop(reason)


def test_equal_sides_are_an_error():
    with pytest.raises(DataError, match="chosen and rejected are equal") as caught:
        as_pair({"prompt": "a", "chosen": "b", "rejected": "b "})
    assert caught.value.reason == "equal_sides"


def test_prompts():
    assert as_prompt({"prompt": "Hi?", "answer": "x"}) == {"prompt": [ASK], "answer": "x"}
    assert as_prompt({"messages": [ASK, SAY]}) == {"prompt": [ASK]}
    assert as_prompt({"instruction": "Hi?", "input": None, "output": "y"})["prompt"] == [ASK]
    gsm8k = {"question": "Hi?", "answer": "so\n#### 18", "final": "18"}
    assert as_prompt(gsm8k) == {
        "prompt": [ASK], "answer": "18", "check": "number", "solution": "so\n#### 18",
    }  # fmt: skip
    assert as_prompt(gsm8k | {"final": 18})["answer"] == 18
    assert as_prompt({"prompt": ""}) == Drop("empty_prompt")


def test_an_explicit_format_says_what_it_lacks():
    with pytest.raises(DataError, match="format 'hh' needs the column 'rejected'; the row has: ch"):
        as_pair({"chosen": "x"}, "hh")
    with pytest.raises(DataError, match="format 'hh' does not fit here; known: messages, share"):
        as_chat({"chosen": "x"}, "hh")

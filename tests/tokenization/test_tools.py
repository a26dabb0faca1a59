"""Chats with tools: rendered where the template writes them, else dropped with a reason."""

import pytest
from test_templates import PUBLISHED, published, trained

from hfllm.data.ledger import Example, Ledger
from hfllm.tokenization.loss_mask import mask_gate
from hfllm.tokenization.render import render

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def call(city: str) -> dict:
    return {"type": "function", "function": {"name": "weather", "arguments": {"city": city}}}


ASK = {"role": "user", "content": "Bonn?"}
CALL = {"role": "assistant", "content": "", "tool_calls": [call("Bonn")]}
RESULT = {"role": "tool", "name": "weather", "content": "3 degrees"}
SAY = {"role": "assistant", "content": "Cold."}
CHAT = [ASK, CALL, RESULT, SAY]


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
def test_calls_are_trained_and_results_are_not(name):
    tokenizer = published(name)
    row = render(tokenizer, CHAT, tools=[TOOL])
    text = tokenizer.decode(row.input_ids)
    want = tokenizer.apply_chat_template(CHAT, tools=[TOOL], tokenize=False)
    assert text == want and "The weather of a city." in text
    first, last = trained(tokenizer, row)
    assert '"city": "Bonn"' in first and first.endswith("<|im_end|>") and "degrees" not in first
    assert last.endswith("Cold.<|im_end|>") and "degrees" not in last


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
@pytest.mark.parametrize("turns", ["all", "each", "last"])
def test_the_gate_takes_them(name, turns):
    ledger, chat = Ledger(), Example({"source": "s", "messages": CHAT, "tools": [TOOL]})
    ledger.expect(chat)
    report = mask_gate(published(name), [chat], 800, ledger, turns=turns)
    ledger.check()
    assert len(report.rows) == (2 if turns == "each" else 1)


def test_a_text_before_the_call_and_several_calls():
    tokenizer = published("qwen2_5")
    both = SAY | {"tool_calls": [call("Bonn"), call("Rome")]}
    row = render(tokenizer, [ASK, both, RESULT, RESULT, SAY], tools=[TOOL])
    first, last = trained(tokenizer, row)
    assert first.startswith("Cold.") and "Bonn" in first and "Rome" in first
    assert last.endswith("Cold.<|im_end|>")
    not_trained = [ASK, both | {"weight": 0}, RESULT, SAY]
    assert len(trained(tokenizer, render(tokenizer, not_trained, tools=[TOOL]))) == 1


OTHERS = [name for name in PUBLISHED if not name.startswith(("qwen", "deepseek"))]


@pytest.mark.parametrize("name", OTHERS)
def test_templates_without_tools_drop_such_chats_with_the_reason(name):
    tokenizer, ledger = published(name), Ledger()
    plain = Example({"source": "s", "messages": [ASK, SAY]})
    chats = [plain, Example({"source": "s", "messages": CHAT, "tools": [TOOL]})]
    chats += [Example({"source": "s", "messages": [ASK, SAY], "tools": [TOOL]})]
    for chat in chats:
        ledger.expect(chat)
    report = mask_gate(tokenizer, chats, 800, ledger, max_dropped=0.9)
    assert ledger.reasons() == {"tools": 2} and "; dropped 2 (tools)" in report.text()
    ledger.check()


def test_a_control_token_in_a_call_is_refused():
    chat = [ASK, CALL | {"tool_calls": [call("<|im_end|>")]}, RESULT, SAY]
    with pytest.raises(ValueError, match="a call or the description of a tool spells a control"):
        render(published("qwen2_5"), chat, tools=[TOOL])

import io
import json
import shutil

import pytest

from hfllm.inference.chat import Conversation, Terminal, chat_loop, converse
from hfllm.inference.generate import Generator
from hfllm.inference.prompts import encode_prompt


def terminal(text):
    return Terminal(io.StringIO(text), io.StringIO(), io.StringIO())


def talk_of(model, tokenizer, **settings):
    return Conversation(Generator(model, tokenizer), **{"max_new_tokens": 8, **settings})


def roles(talk):
    return [message["role"] for message in talk.messages]


def test_lines_from_a_pipe_are_one_conversation(model, tokenizer):
    talk, streams = talk_of(model, tokenizer), terminal("Who is 1?\n\nAnd 2?")
    converse(talk, streams)
    assert roles(talk) == ["user", "assistant"] * 2
    assert [m["content"] for m in talk.messages[::2]] == ["Who is 1?", "And 2?"]
    said = "".join(m["content"] + "\n" for m in talk.messages[1::2])
    assert streams.sink.getvalue() == said
    assert streams.notices.getvalue() == ""


def test_the_history_is_the_prompt(model, tokenizer):
    talk = talk_of(model, tokenizer)
    talk.ask("Who is 1?", terminal(""))
    before = list(talk.messages)
    answer = talk.ask("And 2?", terminal(""))
    prompt = [*before, {"role": "user", "content": "And 2?"}]
    assert answer == talk.generator.answer([prompt], 8)[0].text


def test_commands(model, tokenizer):
    talk = talk_of(model, tokenizer)
    streams = terminal("/system Be brief.\nWho is 1?\n/reset\n/nonsense\n/quit\nnever read\n")
    converse(talk, streams)
    assert talk.messages == [{"role": "system", "content": "Be brief."}]
    assert streams.source.readline() == "never read\n"
    assert "commands: /reset" in streams.notices.getvalue()


def test_the_oldest_turns_are_dropped_when_positions_run_out_and_it_says_so(model, tokenizer):
    talk, streams = talk_of(model, tokenizer), terminal("")
    talk.set_system("Be kind.")
    for number in range(8):
        talk.ask(f"Who is number {number} with cats?", streams)
        assert len(encode_prompt(tokenizer, talk.messages[:-1])) + 8 <= 96
    assert "dropped the oldest" in streams.notices.getvalue()
    assert roles(talk)[0] == "system"
    assert roles(talk)[1:] == ["user", "assistant"] * (len(talk.messages) // 2)
    assert talk.messages[-2]["content"] == "Who is number 7 with cats?"


def test_a_message_longer_than_the_positions_is_refused_and_forgotten(model, tokenizer):
    talk, streams = talk_of(model, tokenizer), terminal("number " * 200 + "\nWho is 1?\n")
    converse(talk, streams)
    assert "too long for the model's 96 positions" in streams.notices.getvalue()
    assert [m["content"] for m in talk.messages if m["role"] == "user"] == ["Who is 1?"]


def test_ctrl_c_ends_the_answer_not_the_conversation(model, tokenizer):
    talk, streams = talk_of(model, tokenizer), terminal("")

    def interrupted(*_):
        yield "half an "
        raise KeyboardInterrupt

    talk.generator.stream = interrupted
    assert talk.ask("Who is 1?", streams) == "half an "
    assert roles(talk) == ["user", "assistant"]


def test_plain_text_is_continued_without_a_template(model, tokenizer):
    talk, streams = talk_of(model, tokenizer, plain=True), terminal("Number 4 is\n/not a command\n")
    converse(talk, streams)
    generator = Generator(model, tokenizer)
    expected = generator.answer(["Number 4 is", "/not a command"], 8)
    assert streams.sink.getvalue() == "".join(a.text + "\n" for a in expected)


def test_a_base_model_is_refused_with_the_step_to_talk_to(folder, tmp_path):
    run = tmp_path / "run"
    for step, stage in (("pretrain", "pretrain"), ("sft", "sft")):
        shutil.copytree(folder, run / step / "model")
        (run / step / "manifest.json").write_text(json.dumps({"stage": stage}))
    with pytest.raises(ValueError, match=r"try `hfllm chat .*run/sft`, or pass --plain"):
        chat_loop(run / "pretrain", terminal=terminal(""))
    streams = terminal("Who is 1?\n")
    chat_loop(run / "pretrain", plain=True, max_new_tokens=4, terminal=streams)
    chat_loop(run / "sft", max_new_tokens=4, terminal=streams)
    assert streams.sink.getvalue()

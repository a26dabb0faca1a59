import io
import json
import shutil

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from hfllm.inference.chat import Conversation, Terminal, chat_loop, converse
from hfllm.inference.generate import Generator
from hfllm.inference.prompts import encode_prompt
from hfllm.inference.sampling import Sampling, less_repeated


def terminal(text):
    return Terminal(io.StringIO(text), io.StringIO(), io.StringIO())


def talk_of(model, tokenizer, **settings):
    return Conversation(Generator(model, tokenizer), **{"max_new_tokens": 8, **settings})


def roles(talk):
    return [message["role"] for message in talk.messages]


def test_lines_from_a_pipe_are_one_conversation(model, tokenizer):
    talk, streams = talk_of(model, tokenizer), terminal("Who is 1?\n\nAnd 2?")
    converse([talk], streams)
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
    converse([talk], streams)
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
    converse([talk], streams)
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
    converse([talk], streams)
    generator = Generator(model, tokenizer)
    expected = generator.answer(["Number 4 is", "/not a command"], 8)
    assert streams.sink.getvalue() == "".join(a.text + "\n" for a in expected)


def test_a_base_model_is_refused_with_the_step_to_talk_to(folder, tmp_path):
    run = tmp_path / "run"
    for step, stage in (("pretrain", "pretrain"), ("sft", "sft")):
        shutil.copytree(folder, run / step / "model")
        (run / step / "manifest.json").write_text(json.dumps({"stage": stage}))
    with pytest.raises(ValueError, match=r"try `hfllm chat .*run/sft`, or pass --plain"):
        chat_loop([run / "pretrain"], terminal=terminal(""))
    streams = terminal("Who is 1?\n")
    chat_loop([run / "pretrain"], plain=True, max_new_tokens=4, terminal=streams)
    chat_loop([run / "sft"], max_new_tokens=4, terminal=streams)
    assert streams.sink.getvalue()


def test_several_models_answer_each_in_its_own_conversation(model, tokenizer):
    talks = [talk_of(model, tokenizer, name=name) for name in ("a", "b")]
    talks[1].set_system("Be brief.")
    streams = terminal("Who is 1?\nAnd 2?\n")
    converse(talks, streams)
    lines = streams.sink.getvalue()
    for talk in talks:
        said = [m["content"] for m in talk.messages if m["role"] == "assistant"]
        assert len(said) == 2
        assert all(f"[{talk.name}] {answer}\n" in lines for answer in said)
    assert roles(talks[0]) == ["user", "assistant"] * 2
    assert roles(talks[1]) == ["system"] + ["user", "assistant"] * 2


def test_regenerate_asks_the_last_question_again(model, tokenizer):
    hot = Sampling(temperature=5.0)
    talk, streams = talk_of(model, tokenizer, sampling=hot), terminal("Who is 1?\n/regenerate\n")
    converse([talk], streams)
    first, second = streams.sink.getvalue().split("\n")[:2]
    assert first != second and roles(talk) == ["user", "assistant"]
    assert talk.messages[0]["content"] == "Who is 1?" and talk.messages[1]["content"] == second
    empty, streams = talk_of(model, tokenizer), terminal("/regenerate\n")
    converse([empty], streams)
    assert "(nothing was asked yet)" in streams.notices.getvalue()


def test_a_saved_conversation_goes_on_where_it_was(model, tokenizer, tmp_path):
    file = tmp_path / "talk.jsonl"
    straight = talk_of(model, tokenizer)
    converse([straight], terminal(f"Who is 1?\n/save {file}\nAnd 2?\n"))
    loaded = talk_of(model, tokenizer)
    converse([loaded], terminal(f"/load {file}\nAnd 2?\n"))
    assert loaded.messages == straight.messages
    assert json.loads(file.read_text()) == {"messages": straight.messages[:2]}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/save", "/save needs the name of a file"),
        ("/save new.jsonl", "nothing was answered yet"),
        ("/save {file}", "exists already; name another file"),
        ("/load nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("/load {file}", "talk.jsonl:1: no chat: it needs messages with role and content"),
    ],
)
def test_wrong_files_are_said_and_the_chat_goes_on(model, tokenizer, tmp_path, line, expected):
    file = tmp_path / "talk.jsonl"
    file.write_text('{"text": "no chat"}\n')
    talk, streams = talk_of(model, tokenizer), terminal(f"{line.format(file=file)}\nWho is 1?\n")
    converse([talk], streams)
    assert expected in streams.notices.getvalue()
    assert roles(talk) == ["user", "assistant"]


def test_top_k_of_one_is_greedy_and_the_penalty_is_that_of_transformers(model, tokenizer):
    generator, prompt = Generator(model, tokenizer), [{"role": "user", "content": "Who is 1?"}]
    greedy = "".join(generator.stream(prompt, 8))
    assert "".join(generator.stream(prompt, 8, Sampling(temperature=3.0, top_k=1))) == greedy
    logits, seen = torch.randn(1, 30), [3, 5, 5, 7]
    theirs = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([seen]), logits.clone())
    assert torch.equal(less_repeated(logits, 1.7, seen), theirs)
    hard = Sampling(repetition_penalty=1e9)
    ids = tokenizer("".join(generator.stream(prompt, 8, hard)))["input_ids"]
    assert len(set(ids)) == len(ids)

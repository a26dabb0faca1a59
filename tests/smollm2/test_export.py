"""A real model exported: the same logits read back, and llama.cpp's greedy answers are ours."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hfllm.cli import app
from hfllm.export.gguf_tokenizer import probes
from hfllm.inference.generate import Generator
from hfllm.inference.load import load_model
from hfllm.inference.prompts import encode_prompt
from hfllm.tokenization.encode import encode_text

QUESTIONS = [
    "What is the capital of France?", "Name three fruits.", "How many legs has a spider?",
    "Write one sentence about the sea.", "What is 7 + 8?", "Who wrote Hamlet?",
    "Translate 'good morning' into French.", "What colour is the sky at night?",
    "Is 17 a prime number?", "Give me a word that rhymes with 'cat'.",
]  # fmt: skip
TOKENS = 32


def exported(folder, path, dtype):
    words = ["export", folder, "--to", "gguf", "--out", path, "--dtype", dtype]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_read_back_it_is_the_model(folder, tmp_path):
    assert "read back: it is the model in f16" in exported(folder, tmp_path / "a.gguf", "f16")
    written = (tmp_path / "a.Modelfile").read_text()
    assert "You are a helpful AI assistant named SmolLM" in written
    assert 'PARAMETER stop "<|im_end|>"' in written


def test_llama_cpp_answers_the_same_greedy_tokens(folder, tmp_path, monkeypatch):
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "export"))
    from llama_cpp_server import served

    exported(folder, tmp_path / "a.gguf", "f32")
    model, tokenizer = load_model(folder)
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    ours = Generator(model, tokenizer).answer(chats, max_new_tokens=TOKENS)
    with served(tmp_path / "a.gguf") as llama_cpp:
        for text in probes(300, seed=5):
            assert llama_cpp.tokens(text) == encode_text(tokenizer, text), text
        for chat, answer in zip(chats, ours, strict=True):
            assert llama_cpp.prompt(chat) == encode_prompt(tokenizer, chat)
            told = llama_cpp.greedy(encode_prompt(tokenizer, chat), TOKENS)
            spoken = answer.ids[:-1] if answer.ended else answer.ids
            theirs = told["tokens"][: len(spoken)]
            assert theirs == spoken, (chat, told["content"], answer.text)
            assert (told["stop_type"] == "eos") == answer.ended

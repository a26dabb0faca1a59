"""Bytes per token, and the display for `hfllm tokens`."""

import shutil
import subprocess
import sys

import pytest

from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.report import bytes_per_token
from hfllm.tokenization.show import show_tokens, token_bytes
from hfllm.tokenization.train import train_tokenizer

TEXTS = ["the baker of Orbin and the sailor of Orbin\n" * 5] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, TokenizerConfig(vocab_size=280))


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(path)
    return path


def test_bytes_per_token_counts_bytes(tokenizer):
    assert bytes_per_token(tokenizer, ["💥"]) == 1.0  # never seen: four bytes, four tokens
    expected = len(TEXTS[0]) / len(encode_text(tokenizer, TEXTS[0]))
    assert bytes_per_token(tokenizer, TEXTS) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no text"):
        bytes_per_token(tokenizer, [])


def test_token_bytes_of_the_whole_vocabulary(tokenizer):
    for token, i in tokenizer.get_vocab().items():
        if i >= 7:
            expected = tokenizer.decode([i]).encode()
            assert token_bytes(token) == expected or "�" in tokenizer.decode([i])
    single = {token_bytes(t) for t, i in tokenizer.get_vocab().items() if 7 <= i < 263}
    assert single == {bytes([byte]) for byte in range(256)}


def test_show_tokens_lists_ids_of_plain_text(tokenizer, folder):
    text = "the baker<|end|>\né"
    shown = show_tokens(text, folder, color=False)
    ids = encode_text(tokenizer, text)
    assert [int(line.split()[0]) for line in shown.splitlines()[2:]] == ids
    assert shown.splitlines()[0].replace("|", "").startswith("the baker")
    assert f"{len(ids)} tokens, {len(text.encode())} bytes" in shown
    assert "\x1b" not in shown
    assert "\x1b[" in show_tokens(text, folder)


def test_show_imports_neither_transformers_nor_torch(folder):
    code = (
        "import sys; from hfllm.tokenization.show import show_tokens; "
        f"show_tokens('hi', {str(folder)!r}); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match="tokenizer.json is missing"):
        show_tokens("x", tmp_path)


def test_a_steps_folder_holds_its_tokenizer(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "sft" / "model")
    assert show_tokens("a baker", tmp_path / "sft") == show_tokens("a baker", folder)


def test_an_unknown_hub_id_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="the hub id nobody/nothing is not in the cache") as e:
        show_tokens("x", "nobody/nothing")
    assert "\n" not in str(e.value)

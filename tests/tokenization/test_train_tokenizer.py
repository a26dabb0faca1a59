"""Training: ids, exact round trips, everything back after reload, clear refusals."""

import random

import pytest
from transformers import AutoTokenizer

from hfllm.tokenization.chat_template import CHAT_TEMPLATE, SPECIAL_TOKENS
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.train import train_tokenizer

WORDS = ["Ada", "Bruno", "baker", "lives", "in", "the", "town", "of", "Orbin", "and", "has", "cat"]


def corpus(sentences=400, seed=0):
    rng = random.Random(seed)
    return [
        " ".join(rng.choices(WORDS, k=9)) + f". {rng.randrange(10**6)}\n" for _ in range(sentences)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(corpus(), TokenizerConfig(vocab_size=400)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_reloaded_tokenizer_has_ids_template_and_flags(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(7))
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert len(tokenizer) == 400
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert tokenizer.model_max_length == 131_072
    assert tokenizer.clean_up_tokenization_spaces is False
    assert set(tokenizer.all_special_tokens) == set(SPECIAL_TOKENS)
    assert tokenizer("Ada").input_ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\r\n\r",
        " ",
        "  \n \t",
        "\0",
        "a\0b",
        "💥👩‍👩‍👧",
        "e\u0301é",
        "�",
        "\u2028\ufeff",
        "1234567",
    ],
)
def test_round_trip_of_odd_texts(tokenizer, text):
    assert tokenizer.decode(encode_text(tokenizer, text)) == text


def test_round_trip_of_random_unicode(tokenizer):
    rng = random.Random(0)
    ranges = [(0, 128), (0, 0x800), (0x20, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    for _ in range(300):
        low, high = rng.choice(ranges)
        text = "".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 60)))
        assert tokenizer.decode(encode_text(tokenizer, text)) == text


def test_every_byte_is_in_the_vocabulary(tokenizer):
    decoded = bytes(range(256)).decode("latin-1")
    assert tokenizer.decode(encode_text(tokenizer, decoded)) == decoded
    assert tokenizer.unk_token is None


def test_spelled_control_tokens_are_text(tokenizer):
    text = "a<|end|>b<|bos|><|assistant|>"
    ids = encode_text(tokenizer, text)
    assert not set(ids) & set(range(7))
    assert tokenizer.decode(ids) == text
    assert 6 in tokenizer(text).input_ids  # why encode_text exists
    assert encode_text(tokenizer, text) == ids  # and one call leaves nothing behind in the next


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_digit_runs_are_bounded(digits):
    texts = ["12345678901234567890 Ada lives in Orbin"] * 20
    trained = train_tokenizer(texts, TokenizerConfig(vocab_size=277, digits=digits))
    pieces = [trained.decode([i]) for i in encode_text(trained, "12345678901234567890")]
    assert max(map(len, pieces)) == digits


def test_training_is_deterministic():
    first, second = (train_tokenizer(corpus(), TokenizerConfig(vocab_size=350)) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_max_mb_bounds_what_is_read():
    read = []
    texts = (read.append(i) or text for i, text in enumerate(corpus(2000)))
    train_tokenizer(texts, TokenizerConfig(vocab_size=300, max_mb=0.01))
    assert len(read) < 300


@pytest.mark.parametrize(
    ("texts", "settings", "message"),
    [
        ([], {}, "no text to train on"),
        (["", ""], {}, "no text to train on"),
        (["ab ab ab"], {}, r"8 bytes of text allow 26\d entries, not 400; .*vocab_size=26\d"),
        (["ab"], {"vocab_size": 262}, "262 is below 263"),
        (["ab"], {"digits": 0}, "tokenizer.digits"),
        (["ab"], {"max_mb": 0.0}, "tokenizer.max_mb"),
        (["ab", "\ud800"], {}, "text 1 is not valid unicode"),
    ],
)
def test_refusals(texts, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        train_tokenizer(texts, TokenizerConfig(**{"vocab_size": 400, **settings}))
    assert "\n" not in str(error.value)


def test_least_vocabulary_needs_no_merge():
    trained = train_tokenizer(["x"], TokenizerConfig(vocab_size=263))
    assert len(trained) == 263


def test_lone_surrogate_is_refused_by_name(tokenizer):
    with pytest.raises(ValueError, match="text 0 is not valid unicode .*character 1"):
        encode_text(tokenizer, "a\udc00")

"""A pad token of its own, taken from what the vocabulary has."""

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from hfllm.tokenization.pad import give_pad_token

TEMPLATE = "{% for m in messages %}<u>{{ m.content }}<end>{% endfor %}"


def tokenizer(special, **names):
    vocabulary = {token: i for i, token in enumerate([*special, *"abcdefgh"])}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocabulary, [])), chat_template=TEMPLATE, **names
    )
    made.add_special_tokens({"extra_special_tokens": special})
    return made


@pytest.mark.parametrize(
    ("special", "names", "pad", "changed"),
    [
        (["<u>", "<end>", "<p>"], {"eos_token": "<end>", "pad_token": "<p>"}, "<p>", False),
        (["<u>", "<end>", "<unk>"], {"eos_token": "<end>", "unk_token": "<unk>"}, "<unk>", True),
        (["<u>", "<end>", "<reserved_0>"], {"pad_token": "<end>"}, "<reserved_0>", True),
    ],
)
def test_pad_is_kept_or_found(special, names, pad, changed):
    given = tokenizer(special, **names)
    size = len(given)
    note = give_pad_token(given)
    assert given.pad_token == pad
    assert bool(note) == changed
    assert len(given) == size
    assert give_pad_token(given) == ""


def test_where_there_is_no_spare_token_one_is_added_and_said():
    given = tokenizer(["<u>", "<end>"], eos_token="<end>", pad_token="<end>")
    size = len(given)
    assert give_pad_token(given) == (
        "pad token <|pad|> (added) instead of <end>, which ends a turn or a text"
    )
    assert given.pad_token == "<|pad|>" and given.pad_token_id == size and len(given) == size + 1
    bare = tokenizer(["<u>", "<end>"], eos_token="<end>")
    assert give_pad_token(bare) == "pad token <|pad|> (added) where there was none"

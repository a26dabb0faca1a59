"""A tiny chat model, and a server of it."""

import pytest
from serve_client import serving

from hfllm.inference.generate import Generator
from tiny_model import save, tiny_model, tiny_tokenizer

TEXTS = [f"Who is number {i}? Number {i} is a café 你好 with {i} cats.\n\nGood." for i in range(80)]


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer(TEXTS)


@pytest.fixture(scope="session")
def model(tokenizer):
    return tiny_model(tokenizer, max_position_embeddings=256)


@pytest.fixture(scope="session")
def folder(model, tokenizer, tmp_path_factory):
    return save(model, tokenizer, tmp_path_factory.mktemp("demo") / "sft" / "model")


@pytest.fixture(scope="session")
def generator(model, tokenizer):
    """What `hfllm chat` answers with."""
    return Generator(model, tokenizer)


@pytest.fixture(scope="session")
def client(model, tokenizer):
    with serving(model, tokenizer) as one:
        yield one

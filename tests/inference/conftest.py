"""A language model, tiny, made on the spot."""

import pytest

from tiny_model import save, tiny_model, tiny_tokenizer

TEXTS = [f"Who is number {i}? Number {i} is a baker with {i} cats.\n\nGood." for i in range(80)]


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer(TEXTS)


@pytest.fixture(scope="session")
def model(tokenizer):
    return tiny_model(tokenizer)


@pytest.fixture
def own_model(tokenizer):
    """A model that the test may change."""
    return tiny_model(tokenizer)


@pytest.fixture(scope="session")
def folder(model, tokenizer, tmp_path_factory):
    """The model as a step of a run leaves it."""
    return save(model, tokenizer, tmp_path_factory.mktemp("demo") / "sft" / "model")

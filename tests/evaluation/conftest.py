"""Fixtures: tiny language models and a tiny reward model, built on the fly."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForSequenceClassification

from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import ModelSpec
from hfllm.inference.generate import Generator
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
def folders(tokenizer, tmp_path_factory):
    """A run with two language models and a reward model."""
    run = tmp_path_factory.mktemp("demo")
    torch.manual_seed(2)
    config = tiny_model(tokenizer).config
    config.num_labels = 1
    reward = LlamaForSequenceClassification(config)
    return {
        "pretrain": save(tiny_model(tokenizer, seed=1), tokenizer, run / "pretrain" / "model"),
        "sft": save(tiny_model(tokenizer), tokenizer, run / "sft" / "model"),
        "ppo": save(tiny_model(tokenizer, seed=3), tokenizer, run / "ppo" / "model"),
        "reward": save(reward, tokenizer, run / "reward" / "model"),
    }


@pytest.fixture()
def tested(model, tokenizer):
    generator = Generator(model, tokenizer, batch_size=4)
    return ModelUnderTest(ModelSpec("sft", Path("sft"), chat=True), model, tokenizer, generator)

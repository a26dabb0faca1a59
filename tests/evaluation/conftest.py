"""A two-layer Llama with a 320-token BPE, made on the spot; no hub."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from hfllm.evaluation.specs import ModelSpec
from hfllm.evaluation.subject import Subject
from hfllm.inference.generate import Generator
from hfllm.recipe.data_schema import TokenizerConfig
from hfllm.tokenization.train import train_tokenizer

torch.set_num_threads(1)
TEXTS = [f"Who is number {i}? Number {i} is a baker with {i} cats.\n\nGood." for i in range(80)]


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(iter(TEXTS), TokenizerConfig(vocab_size=320))


def tiny_model(tokenizer, seed=0, **changes):
    torch.manual_seed(seed)
    settings = dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=96,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()
    stops = tokenizer.convert_tokens_to_ids(["<|end|>", "<|eos|>"])
    model.generation_config.eos_token_id = stops
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@pytest.fixture(scope="session")
def model(tokenizer):
    return tiny_model(tokenizer)


@pytest.fixture
def own_model(tokenizer):
    """A model that the test may change."""
    return tiny_model(tokenizer)


def save(model, tokenizer, place):
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


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
def subject(model, tokenizer):
    generator = Generator(model, tokenizer, batch_size=4)
    return Subject(ModelSpec("sft", Path("sft"), chat=True), model, tokenizer, generator)

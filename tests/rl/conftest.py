"""Fixtures: a two-layer Llama, its tokenizer, critic and reward model, built without the hub."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from rl_helpers import SETTINGS, SPECIAL, even_tokens
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from hfllm.rl.ppo_config import PPOConfig
from hfllm.rl.ppo_trainer import PPOTrainer
from tiny_model import tiny_config

TEMPLATE = (
    "<|bos|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXT = [f"who is number {i}? it is a baker with {i} cats and {i + 1} dogs." for i in range(60)]
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A 300-token byte-level BPE with the chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|eos|>"
    )
    made.chat_template = TEMPLATE
    made.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    return made


def _config(tokenizer: PreTrainedTokenizerFast, **changes) -> LlamaConfig:
    ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    settings = dict(max_position_embeddings=128, initializer_range=0.1, **ids)
    return tiny_config(tokenizer, **{**settings, **changes})


@pytest.fixture(scope="session")
def policy_folder(tokenizer, tmp_path_factory) -> Path:
    """A random policy, saved; generation stops at the end of turn and of document."""
    folder = tmp_path_factory.mktemp("policy")
    torch.manual_seed(0)
    model = LlamaForCausalLM(_config(tokenizer))
    model.generation_config.eos_token_id = [6, 2]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reward_folder(tokenizer, tmp_path_factory) -> Path:
    """A random reward model, saved."""
    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(1)
    LlamaForSequenceClassification(_config(tokenizer, num_labels=1)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture()
def policy(policy_folder) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(policy_folder, dtype=torch.float32)


@pytest.fixture(scope="session")
def prompts() -> Dataset:
    """24 chat prompts of different lengths, with a column for reward functions."""
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"who is number {i}?" + " it is" * (i % 4)}],
                "answer": str(i),
            }
            for i in range(24)
        ]
    )


@pytest.fixture()
def settings(tmp_path):
    """PPOConfig for a rollout of 8 short answers; keyword arguments override."""

    def make(**changes) -> PPOConfig:
        base = {**SETTINGS, "output_dir": str(tmp_path / "run"), "num_iterations": 2}
        return PPOConfig(**{**base, **changes})

    return make


@pytest.fixture()
def build(policy_folder, reward_folder, tokenizer, prompts, settings):
    """Make a PPOTrainer; keyword arguments that PPOConfig knows go there, others to the trainer."""

    def make(**changes) -> PPOTrainer:
        known = PPOConfig.__dataclass_fields__
        args = settings(**{k: v for k, v in changes.items() if k in known})
        others = {k: v for k, v in changes.items() if k not in known}
        policy = LlamaForCausalLM.from_pretrained(policy_folder, dtype=torch.float32)
        default = dict(
            model=policy,
            reward_funcs=even_tokens,
            critic=reward_folder,
            train_dataset=prompts,
            processing_class=tokenizer,
        )
        return PPOTrainer(args=args, **{**default, **others})

    return make

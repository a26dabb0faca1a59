"""Sizes by arithmetic are those of the model that transformers builds."""

import json

import pytest
from transformers import AutoConfig

from hfllm.training.memory import model_size
from hfllm.training.sizes import FAMILIES, arithmetic_size

SHAPE = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, vocab_size=96, pad_token_id=0)  # fmt: skip
VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "untied": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 20},
    "biases": {"attention_bias": True, "mlp_bias": True},
}
NO_BIASES = ("mistral", "qwen2")  # types without these keys
ADAPTERS = [
    {"r": 4, "target_modules": "all-linear"},
    {"r": 2, "target_modules": ["q_proj", "down_proj"]},
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_built_model(family, variant):
    given = {**SHAPE, **VARIANTS[variant]}
    if variant == "biases" and family in NO_BIASES:
        pytest.skip("no such keys")
    config = AutoConfig.for_model(family, **given)
    assert arithmetic_size({"model_type": family, **given}) == model_size(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_written_config_is_read_the_same(family, tmp_path):
    config = AutoConfig.for_model(family, **SHAPE)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert arithmetic_size(written) == model_size(config)


@pytest.mark.parametrize("peft", ADAPTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_those_that_peft_makes(family, peft):
    config = AutoConfig.for_model(family, **SHAPE)
    counted = arithmetic_size({"model_type": family, **SHAPE}, peft)
    assert counted == model_size(config, peft)
    assert counted.adapter


@pytest.mark.parametrize(
    "changes", [{"model_type": "gpt2"}, {"vocab_size": None}, {"num_hidden_layers": "3"}]
)
def test_what_arithmetic_does_not_know_it_leaves_to_torch(changes):
    assert arithmetic_size({"model_type": "llama", **SHAPE, **changes}) is None


@pytest.mark.parametrize(
    "peft", [{"modules_to_save": ["lm_head"]}, {"target_modules": ["q_prj"]}, {"bias": "all"}, {}]
)
def test_adapters_that_train_more_are_left_to_torch(peft):
    assert arithmetic_size({"model_type": "llama", **SHAPE}, peft) is None

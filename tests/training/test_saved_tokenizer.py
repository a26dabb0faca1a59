"""The tokenizer that is saved beside a model is the one that is loaded from its folder."""

import pytest
from transformers import AutoConfig

from hfllm.training.saved_tokenizer import check_saved_tokenizer


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "mistral", "gemma2", "gpt2", "olmo2"])
def test_a_tokenizer_of_ones_own_is_loaded_as_it_is(bpe, model_type):
    check_saved_tokenizer(AutoConfig.for_model(model_type), bpe)


def test_a_type_that_brings_its_own_class_is_refused(bpe):
    with pytest.raises(ValueError, match="model_type 'qwen2'.*Qwen2Tokenizer.*llama or qwen3"):
        check_saved_tokenizer(AutoConfig.for_model("qwen2"), bpe)


def test_it_is_found_before_training(workspace):
    workspace.recipe({"pretrain": {"model": {"model_type": "qwen2"}}})
    workspace.run("tokenizer")
    with pytest.raises(ValueError, match="choose another model_type"):
        workspace.run("pretrain")
    assert not list(workspace.step("pretrain").checkpoints.glob("*"))

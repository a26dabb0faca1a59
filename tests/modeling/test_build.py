"""A model from a recipe's section: nothing misspelt, nothing that clashes, the same weights."""

import pytest
import torch

from hfllm.modeling.build import build_config, build_model, check_positions, make_config
from tiny import MODEL
from tiny_types import tiny_config

GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2}


def test_sizes_come_from_tokenizer_and_rows(bpe):
    config = build_config(dict(MODEL), bpe, 48)
    assert (config.vocab_size, config.max_position_embeddings) == (len(bpe), 48)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)
    larger = build_config({**MODEL, "vocab_size": 512, "max_position_embeddings": 99}, bpe, 48)
    assert (larger.vocab_size, larger.max_position_embeddings) == (512, 99)


def test_the_same_seed_gives_the_same_weights(bpe):
    one, two, other = (build_model(dict(MODEL), bpe, 64, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert {value.dtype for value in one.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hiden_size": 3}, "model.hiden_size: no key of a llama config. Did you mean: 'hidden"),
        ({"self": 3}, "model.self: no key of a llama config"),
        ({"model_type": "lama"}, "transformers has no 'lama'. Did you mean: 'llama'?"),
        ({"model_type": 5}, "transformers has no '5'"),
        ({"model_type": None}, "model.model_type: must be set, for example `model_type: llama`"),
        ({"vocab_size": 299}, "model.vocab_size: 299 is smaller than the tokenizer's 300 tokens"),
        ({"vocab_size": "x"}, "Field 'vocab_size' expected int, got str"),
        ({"max_position_embeddings": 32}, "data.seq_len: 64 is beyond the 32 positions"),
        ({"hidden_size": 33}, "hidden size (33) is not a multiple of the number of"),
        ({"hidden_act": "gelulu"}, "model.hidden_act: transformers cannot build it: 'gelulu'"),
        ({"attn_implementation": "x"}, "transformers cannot build it: Specified `attn"),
        ({"num_hidden_layers": 0}, "model.num_hidden_layers: must be 1 or more, not 0"),
        ({"num_key_value_heads": 3}, "model.num_key_value_heads: 3 do not divide 2 attention"),
        ({"attention_dropout": 2.0}, "model.attention_dropout: must be 0 or more and below 1"),
        ({"rms_norm_eps": -1}, "model.rms_norm_eps: no llama config: Field 'rms_norm_eps' exp"),
        ({"rope_theta": 1.0}, "model.rope_theta: write `rope_parameters: {rope_type: "),
        ({"torch_dtype": "bfloat16"}, "set trainer.bf16 for the precision"),
        ({"eos_token_id": 5}, "model.eos_token_id: it comes from the tokenizer; leave it out"),
    ],
)  # fmt: skip
def test_what_transformers_would_swallow_or_choke_on_is_one_line(bpe, changes, expected):
    with pytest.raises(ValueError) as caught:
        build_model({**MODEL, **changes}, bpe, 64, seed=0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


BERT = {"model_type": "bert", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2}  # fmt: skip


def test_a_model_that_sees_the_tokens_that_follow_is_refused(bpe):
    with pytest.raises(ValueError, match="bert sees the tokens that follow.*is_decoder=true"):
        build_model(dict(BERT), bpe, 64, seed=0)
    build_model({**BERT, "is_decoder": True}, bpe, 64, seed=0)


def test_looking_for_what_follows_leaves_the_weights_and_the_mode_alone(bpe):
    assert build_model(dict(MODEL), bpe, 64, seed=0).training


def test_what_the_message_says_works(bpe):
    rope = {"rope_type": "default", "rope_theta": 500.0}
    config = build_config({**MODEL, "rope_parameters": rope}, bpe, 64)
    assert config.rope_parameters["rope_theta"] == 500.0


def test_a_model_that_calls_its_positions_otherwise_is_sized_all_the_same(bpe):
    assert build_config(dict(GPT2), bpe, 48).n_positions == 48
    assert build_config({**GPT2, "max_position_embeddings": 64}, bpe, 48).n_positions == 64
    with pytest.raises(ValueError, match="seq_len: 48 is beyond the 32 positions"):
        build_config({**GPT2, "n_positions": 32}, bpe, 48)


def test_a_config_can_be_checked_before_there_is_a_tokenizer():
    assert make_config(dict(MODEL), 64).max_position_embeddings == 64
    with pytest.raises(ValueError, match="vocab_size: 10 is smaller than the tokenizer's 20"):
        make_config({**MODEL, "vocab_size": 10}, 64, vocab_size=20)


def test_a_model_without_positions_takes_rows_of_any_length():
    mamba = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1}
    check_positions(make_config(mamba, 64), 10**6, "x")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            {"model_type": "roberta", "is_decoder": True, "hidden_size": 32,
             "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
            "a row of data.seq_len=64 tokens does not fit this roberta (index 64 is out of",
        ),
        (
            {"model_type": "git", "hidden_size": 32, "intermediate_size": 32,
             "num_hidden_layers": 1, "num_attention_heads": 2,
             "vision_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                               "num_attention_heads": 2}},
            "a git does not train on text (Expected input batch_size (0)",
        ),
        (
            {"model_type": "llama4", "text_config": tiny_config("llama4_text").to_dict()},
            "llama4_text embeds 64 tokens, the tokenizer has 300: set vocab_size",
        ),
    ],
)  # fmt: skip
def test_what_a_model_cannot_be_trained_on_is_one_line_before_training(bpe, model, expected):
    model = {k: v for k, v in model.items() if not k.startswith(("pad_", "bos_", "eos_", "trans"))}
    with pytest.raises(ValueError) as caught:
        build_model(model, bpe, 64, seed=0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)

"""A model gets rows in which documents have their loss alone; every model type is tried."""

import copy
import random

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TYPES

from hfllm.data.packing.pack import IGNORED, WINDOW, PackedCollator, pack
from hfllm.modeling.isolation import (
    packing_problem,
    prepare_for_packing,
    sees_later_tokens,
    turn_off_cache,
)
from tiny_types import NOT_CAUSAL, NOT_SMALL, VOCABULARY, is_small, tiny_causal

SEQ_LEN = 24
PACKED = ("llama", "gpt2", "gemma3_text", "mistral", "qwen3")
APART = (
    "gpt_oss", "qwen3_next", "lfm2", "jamba", "mamba", "mamba2", "bloom", "opt", "recurrent_gemma",
)  # fmt: skip
SEE = "see each other"


def documents():
    rng = random.Random(0)
    return [[rng.randrange(4, VOCABULARY) for _ in range(rng.randrange(3, 31))] for _ in range(8)]


def losses(model, **inputs):
    """Loss of each trained token, in order."""
    labels = inputs.pop("labels")
    with torch.no_grad():
        logits = model(**inputs).logits
    found = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), labels[:, 1:], reduction="none"
    )
    return found[labels[:, 1:] != IGNORED]


def losses_as_trained(model, problem):
    rows = pack(documents(), SEQ_LEN, 0, window=1 if problem else WINDOW)
    return losses(model, **PackedCollator(0, problem is not None)(list(rows)))


def losses_alone(model):
    ids = [torch.tensor([doc[a : a + SEQ_LEN]]) for doc in documents() for a in (0, SEQ_LEN)]
    return torch.cat([losses(model, input_ids=x, labels=x) for x in ids if x.numel() > 1])


def check(model_type):
    """The loss of the rows that the model would get is the loss of the documents alone."""
    model = tiny_causal(model_type)
    if model_type in NOT_CAUSAL:
        assert sees_later_tokens(model)  # refused, with any rows
        return None
    assert not sees_later_tokens(model)
    problem = prepare_for_packing([model], SEQ_LEN)
    found, alone = losses_as_trained(model, problem), losses_alone(model)
    torch.testing.assert_close(found.sort().values, alone.sort().values, atol=2e-3, rtol=1e-3)
    return problem


@pytest.mark.parametrize("model_type", PACKED)
def test_these_models_keep_packed_documents_apart(model_type):
    assert check(model_type) is None


@pytest.mark.parametrize("model_type", APART)
def test_these_models_would_mix_packed_documents(model_type):
    assert SEE in check(model_type)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(set(TYPES) - {*PACKED, *APART, *NOT_SMALL}))
def test_every_model_type_is_trained_on_documents_alone(model_type):
    check(model_type)


@pytest.mark.slow
def test_the_list_of_types_that_are_not_tried_is_no_longer_than_needed():
    assert not [name for name in NOT_SMALL if name in TYPES and is_small(name)]


@pytest.mark.parametrize("model_type", ["llama", "lfm2", "bloom"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_newly_initialised_model_shows_it_too(model_type, attention):
    """Its weights are small, and its head may be zero."""
    if model_type == "bloom" and attention == "sdpa":
        pytest.skip("BLOOM has eager attention only")
    model = tiny_causal(model_type, std=0.02)
    model.set_attn_implementation(attention)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    turn_off_cache(model)
    assert (packing_problem(model, SEQ_LEN) is None) == (model_type == "llama")


def test_the_trial_leaves_weights_mode_and_random_numbers_as_they_were():
    model = tiny_causal("lfm2", std=0.02).train()
    torch.nn.init.zeros_(model.lm_head.weight)
    before = {name: x.clone() for name, x in copy.deepcopy(model).state_dict().items()}
    state = torch.get_rng_state()
    packing_problem(model, SEQ_LEN)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    for name, x in model.state_dict().items():
        assert torch.equal(x.view(torch.int32), before[name].view(torch.int32)), name


def test_a_cache_would_mix_them_and_is_turned_off_in_every_config():
    model = tiny_causal("llama")
    assert SEE in packing_problem(model, SEQ_LEN)
    assert prepare_for_packing([model], SEQ_LEN) is None
    assert not model.config.use_cache


def test_blocks_of_many_tokens_are_tried_with_a_whole_row():
    """DeepSeek V4 compresses every 128 tokens to one, which later documents see."""
    pytest.importorskip("transformers.models.deepseek_v4")
    model = tiny_causal("deepseek_v4")
    turn_off_cache(model)
    assert packing_problem(model, 64) is None
    assert SEE in packing_problem(model, 300)


def test_a_model_that_does_not_run_on_such_a_row_is_not_packed():
    model = tiny_causal("llama")
    model.forward = lambda input_ids: None
    assert "position_ids" in packing_problem(model, SEQ_LEN)

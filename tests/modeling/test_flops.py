"""Parameters and FLOPs against sums by hand."""

import pytest

from hfllm.modeling.build import build_model
from hfllm.modeling.flops import count_parameters, flops_per_token, matmul_parameters
from tiny import MODEL

V, D, F, L, T = 300, 32, 64, 2, 64  # vocabulary, hidden, feed-forward, layers, sequence
LAYER = 4 * D * D + 3 * D * F  # q, k, v, o and gate, up, down
NORMS = (2 * L + 1) * D


def made(bpe, **changes):
    return build_model({**MODEL, **changes}, bpe, T, seed=0)


def test_a_tied_llama_by_hand(bpe):
    model = made(bpe)
    assert count_parameters(model) == V * D + L * LAYER + NORMS
    assert matmul_parameters(model) == V * D + L * LAYER + NORMS  # the head multiplies
    assert flops_per_token(model, T) == 6 * (V * D + L * LAYER + NORMS) + 12 * L * D * T


def test_an_untied_head_counts_and_the_input_embedding_does_not(bpe):
    model = made(bpe, tie_word_embeddings=False)
    assert count_parameters(model) == 2 * V * D + L * LAYER + NORMS
    assert matmul_parameters(model) == V * D + L * LAYER + NORMS


def test_attention_width_is_heads_times_head_width(bpe):
    model = made(bpe, head_dim=32)  # wider than hidden_size / heads
    extra = flops_per_token(model, T) - 6 * matmul_parameters(model)
    assert extra == 12 * L * (2 * 32) * T


def test_a_table_of_positions_is_looked_up_and_not_multiplied(bpe):
    gpt2 = {"model_type": "gpt2", "n_embd": D, "n_layer": L, "n_head": 2}
    short, long = (build_model(gpt2, bpe, length, seed=0) for length in (64, 128))
    assert count_parameters(long) == count_parameters(short) + 64 * D
    assert matmul_parameters(long) == matmul_parameters(short)


def test_only_the_experts_that_a_token_visits_count(bpe):
    model = made(bpe, model_type="mixtral", num_local_experts=4, num_experts_per_tok=2)
    attention, router, experts = 4 * D * D, 4 * D, 3 * D * F
    assert count_parameters(model) == V * D + L * (attention + router + 4 * experts) + NORMS
    assert matmul_parameters(model) == V * D + L * (attention + router + 2 * experts) + NORMS


def test_the_measured_cost_agrees(bpe):
    """torch counts the multiply-adds of a forward pass: a third of ours, norms aside."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = made(bpe, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(1, T, dtype=torch.long))
    per_token = counter.get_total_flops() / T
    assert 3 * per_token == pytest.approx(flops_per_token(model, T), rel=0.01)

"""The memory estimate: activations are those that autograd keeps, peaks are measured ones."""

import itertools

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hfllm.modeling.start_config import with_adapter
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import (
    GIB,
    ModelSize,
    Training,
    activations,
    block_bytes,
    model_size,
    peak_bytes,
)

SMOL = LlamaConfig(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True,
)  # fmt: skip
LORA = {"r": 16, "target_modules": "all-linear"}
BF16 = Training(bf16=True, checkpointing=False, on_gpu=False)


def saved_bytes(model, tokens, bf16):
    """Bytes of the tensors that autograd keeps for the backward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held: no address is used twice
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model.base_model(input_ids=ids, use_cache=False)
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize(("adapter", "bf16"), itertools.product((False, True), repeat=2))
def test_activations_are_what_autograd_keeps(adapter, bf16):
    shape = dict(hidden_size=192, intermediate_size=512, num_attention_heads=3,
                 num_key_value_heads=1, vocab_size=64)  # fmt: skip
    found = []
    for layers, tokens in itertools.product((1, 2), (32, 64)):
        model = LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=layers)).train()
        if adapter:
            model = with_adapter(model, {"r": 2, "target_modules": "all-linear"}).base_model
        found.append(saved_bytes(model, tokens, bf16))
    measured = ((found[3] - found[2]) - (found[1] - found[0])) / 32  # of a token in a layer
    size = ModelSize(100, 1 if adapter else 100, 1, 192, 512, 64, 64)
    estimated = activations(size, 1, block_bytes(size, bf16), checkpointing=False)
    assert estimated == pytest.approx(measured, rel=0.03)


def test_sizes_are_those_of_the_model():
    size = model_size(SMOL, LORA)
    assert (size.parameters, size.trained) == (139_399_488, 4_884_480)  # as a training step logs it
    assert size.adapter
    assert not model_size(SMOL).adapter
    with pytest.raises(ValueError, match="Target modules .* not found"):
        model_size(SMOL, {"target_modules": ["q_prj"]})


def test_checkpointing_and_frozen_models_count():
    size, row = model_size(SMOL), RowShape(tokens=512)
    whole = peak_bytes(size, row, 8, BF16)
    assert peak_bytes(size, row, 8, Training(True, True, False)) < 0.6 * whole
    assert peak_bytes(size, RowShape(512, frozen=1), 8, BF16) - whole == 4 * size.parameters
    assert peak_bytes(size, RowShape(512, copies=2), 8, BF16) > 1.7 * whole
    assert whole > 3 * GIB


# GiB that `/usr/bin/time` measured for three steps on two CPU cores with bf16 (docs/benchmarks.md).
# SFT rows of Dolly at 512 tokens, and pairs of PandaLM at 384, all of SmolLM2-135M.
MEASURED = [
    (RowShape(512, 307, fused=True), LORA, 1, 2.58),
    (RowShape(512, 307, fused=True), LORA, 2, 3.31),
    (RowShape(512, 307, fused=True), LORA, 4, 4.98),
    (RowShape(512, 307, fused=True), LORA, 16, 14.69),
    (RowShape(512, 307, fused=True), None, 1, 3.33),
    (RowShape(512, 307, fused=True), None, 2, 3.96),
    (RowShape(512, 512), None, 1, 3.34),
    (RowShape(512, 512), None, 2, 4.62),
]


@pytest.mark.parametrize(("row", "peft", "rows", "measured"), MEASURED)
def test_the_estimate_is_within_a_fifth_of_the_measured_peak(row, peft, rows, measured):
    estimated = peak_bytes(model_size(SMOL, peft), row, rows, BF16) / GIB
    assert estimated == pytest.approx(measured, rel=0.2)

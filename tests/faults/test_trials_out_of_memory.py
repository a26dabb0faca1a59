"""Lack of memory in a trial of a model is told as that: it says nothing about the model."""

import pytest
import torch

from hfllm.fast_cpu.shared_context import supports_tree_attention
from hfllm.fast_cpu.shared_prefix import _agrees_with_whole_rows
from hfllm.fast_cpu.trained_head import has_plain_head
from hfllm.inference.decoders import is_right, padded
from hfllm.modeling.isolation import packing_problem
from hfllm.modeling.trial import try_model
from hfllm.runs.user_errors import explain
from tiny_types import VOCABULARY, tiny_causal

IDS = torch.arange(8, 24).reshape(2, 8)
TRIALS = {
    "training": lambda model: try_model(model, "model", 16, VOCABULARY),
    "packing": lambda model: packing_problem(model, 16),
    "decoding": lambda model: is_right(model, padded),
    "head": has_plain_head,
    "shared context": lambda model: supports_tree_attention(model, IDS[0].tolist(), 64),
    "shared prefix": lambda model: _agrees_with_whole_rows(model.model, IDS, 4),
}


@pytest.mark.parametrize("trial", list(TRIALS))
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_no_memory_is_no_answer(trial, error):
    model = tiny_causal("llama").eval()
    if trial == "shared context":  # which tries the head first
        assert has_plain_head(model)

    def forward(*_, **__):
        raise error("CUDA out of memory. DefaultCPUAllocator: can't allocate memory")

    model.model.embed_tokens.forward = forward
    model.lm_head.forward = forward
    with pytest.raises(error, match="memory") as found:
        TRIALS[trial](model)
    assert explain(found.value)[0].startswith("out of memory")

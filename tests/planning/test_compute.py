"""FLOPs: those of the model's own products, of adapters, of PPO; seconds and money."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from hfllm.modeling.flops import flops_per_token as of_model
from hfllm.modeling.flops import ppo_flops_per_token
from hfllm.modeling.start_config import with_adapter
from hfllm.planning.compute import flops_per_token, money, seconds
from hfllm.planning.devices import DEVICES, device_called, device_named
from hfllm.recipe.stage import RowShape
from hfllm.training.memory import model_size

CONFIG = LlamaConfig(
    hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=200, attn_implementation="eager",
)  # fmt: skip
LORA = {"r": 4, "target_modules": "all-linear"}
TOKENS = 32


def counted(model):
    """FLOPs of a forward and a backward pass, a token, as torch counts the products."""
    ids = torch.zeros(1, TOKENS, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return counter.get_total_flops() / TOKENS


def test_flops_are_those_that_torch_counts():
    found = flops_per_token(model_size(CONFIG), RowShape(TOKENS, TOKENS), TOKENS).total
    assert found == pytest.approx(counted(LlamaForCausalLM(CONFIG)), rel=0.02)
    assert found == pytest.approx(of_model(LlamaForCausalLM(CONFIG), TOKENS), rel=1e-9)


def test_an_adapters_backward_pass_has_no_products_for_frozen_weights():
    size = model_size(CONFIG, LORA)
    model = with_adapter(LlamaForCausalLM(CONFIG), LORA)
    model.enable_input_require_grads()  # all of the backward pass, as in a deep model
    found = flops_per_token(size, RowShape(TOKENS, TOKENS), TOKENS).total
    assert found == pytest.approx(counted(model), rel=0.02)
    whole = flops_per_token(model_size(CONFIG), RowShape(TOKENS, TOKENS), TOKENS).total
    assert found < 0.85 * whole


def test_ppo_passes_are_those_of_the_manifest():
    size = model_size(CONFIG)
    shape = RowShape(TOKENS, 16, copies=2, frozen=2, reference=1, answer=16)
    n = size.matmul
    for epochs in (1, 2, 4):
        mine = flops_per_token(size, shape, TOKENS, epochs).weights * epochs
        assert mine == pytest.approx(ppo_flops_per_token(n, n, n, epochs))


def test_a_score_needs_no_head():
    size = model_size(CONFIG)
    with_head = flops_per_token(size, RowShape(TOKENS, TOKENS), TOKENS).weights
    without = flops_per_token(size, RowShape(TOKENS), TOKENS).weights
    assert with_head - without == 6 * size.vocabulary * size.hidden


def test_seconds_and_money():
    device = DEVICES["h100"]
    assert seconds(device.flops, device, 1, mfu=1.0) == 1.0
    assert seconds(device.flops, device, 8, mfu=0.5) == 0.25
    assert seconds(device.float32, device, 1, mfu=1.0, half=False) == 1.0
    assert money(7200, 8, 2.5) == 40.0


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100 80GB PCIe", "a100-80"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx6000-pro"),
        ("NVIDIA Something New", None),
    ],
)
def test_a_reported_name_finds_its_card(reported, name):
    found = device_called(reported)
    assert (found and found.name) == name


def test_names_are_found_however_they_are_written():
    assert device_named("H100_SXM").name == "h100"
    assert device_named("RTX4090").name == "4090"
    with pytest.raises(ValueError, match="no device 'b300' is known. Did you mean: 'b200'"):
        device_named("b300")


def test_every_device_names_its_source_and_is_plausible():
    for device in DEVICES.values():
        assert device.source[-4:].isdigit(), device.name
        assert 14 * 2**30 < device.memory < 180 * 2**30
        assert device.float32 < device.flops

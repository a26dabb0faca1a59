"""A prefix that is run once: the figures and gradients of whole rows, and where it is not done."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, MambaConfig, MambaForCausalLM
from trl.trainer.utils import FusedCausalLMOutput

from hfllm.fast_cpu import shared_prefix
from hfllm.fast_cpu.shared_prefix import last_hidden
from hfllm.fast_cpu.trained_head import score_trained_positions

SIZES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=8)
HEADS = dict(num_attention_heads=4, num_key_value_heads=2, vocab_size=300)


@pytest.fixture(autouse=True)
def small_rows_are_worth_it(monkeypatch):
    monkeypatch.setattr(shared_prefix, "MIN_SAVED", 20)


def rows(shared=12, rest=9, count=4):
    """Rows (count, shared + rest) that part behind `shared` tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 300, (count, shared + rest), generator=generator)
    ids[:, :shared] = ids[0, :shared].clone()
    ids[:, shared] = torch.arange(count)
    return ids


def whole(trunk, ids):
    return trunk(input_ids=ids, use_cache=False).last_hidden_state


@pytest.fixture
def positions_run(llama):
    """How many tokens the first layer was given, call by call."""
    seen = []
    llama.model.layers[0].register_forward_hook(
        lambda _, args, __: seen.append(args[0].shape[:2].numel())
    )
    return seen


def test_hidden_states_behind_a_prefix_are_those_of_whole_rows(llama, positions_run):
    ids = rows()
    with torch.no_grad():
        expected = whole(llama.model, ids)
        last_hidden(llama.model, ids, keep=5)  # the model is tried
        positions_run.clear()
        hidden, cut = last_hidden(llama.model, ids, keep=5)
    assert cut == 12 and positions_run == [12, 4 * 9]
    torch.testing.assert_close(hidden, expected[:, 12:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("keep,cut", [(9, 12), (11, 10), (14, 7), (15, 0), (30, 0)])
def test_the_last_columns_are_always_there(llama, keep, cut):
    with torch.no_grad():
        hidden, found = last_hidden(llama.model, rows(), keep)
    assert found == cut and hidden.size(1) == 21 - cut


def test_one_row_shares_with_nobody(llama):
    with torch.no_grad():
        assert last_hidden(llama.model, rows()[:1], keep=1)[1] == 0


def outputs_and_gradients(model, batch):
    model.zero_grad()
    out = model(**batch, fused_lm_head=True)
    (-out.log_probs.sum()).backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    return out, grads


@pytest.mark.parametrize("lora", [False, True])
def test_gradients_flow_back_through_the_prefix(llama, positions_run, lora, monkeypatch):
    ids = rows()
    labels = torch.where(torch.arange(21) >= 15, ids, -100)
    score_trained_positions(llama, FusedCausalLMOutput)
    model = llama
    if lora:
        model = get_peft_model(llama, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    model.train()
    outputs_and_gradients(model, {"input_ids": ids, "labels": labels})
    positions_run.clear()
    ours, our_gradients = outputs_and_gradients(model, {"input_ids": ids, "labels": labels})
    assert positions_run == [12, 4 * 9]
    monkeypatch.setattr(shared_prefix, "MIN_SAVED", 1000)
    plain, gradients = outputs_and_gradients(model, {"input_ids": ids, "labels": labels})
    for name in ("log_probs", "entropy", "is_top1", "label_mask", "loss"):
        torch.testing.assert_close(ours[name], plain[name], rtol=1e-4, atol=1e-4, msg=name)
    assert gradients.keys() == our_gradients.keys() and len(gradients) > 4
    for name, value in gradients.items():
        assert value.norm() > 0
        torch.testing.assert_close(our_gradients[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_with_a_mask_or_positions_rows_are_run_whole(llama):
    ids = rows()
    with torch.no_grad():
        assert last_hidden(llama.model, ids, 5, attention_mask=torch.ones_like(ids))[1] == 0
        assert last_hidden(llama.model, ids, 5, position_ids=torch.arange(21)[None])[1] == 0
        assert last_hidden(llama.model, ids, 5)[1] == 12


def test_while_dropout_or_checkpointing_is_on_rows_are_run_whole(llama):
    ids = rows()
    llama.train()
    assert last_hidden(llama.model, ids, 5)[1] == 12
    llama.gradient_checkpointing_enable()
    assert last_hidden(llama.model, ids, 5)[1] == 0
    llama.gradient_checkpointing_disable()
    llama.model.layers[1].self_attn.attention_dropout = 0.1
    assert last_hidden(llama.model, ids, 5)[1] == 0
    llama.eval()  # nothing is dropped
    assert last_hidden(llama.model, ids, 5)[1] == 12


def test_a_window_over_the_past_and_a_recurrent_state_are_run_whole():
    window = AutoConfig.for_model("mistral", sliding_window=4, **SIZES, **HEADS)
    state = MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=300, state_size=4)
    for model in (AutoModelForCausalLM.from_config(window), MambaForCausalLM(state)):
        with torch.no_grad():
            hidden, cut = last_hidden(model.base_model.eval(), rows(), 5)
            torch.testing.assert_close(hidden, whole(model.base_model, rows()))
        assert cut == 0


def test_a_model_that_errs_behind_a_prefix_is_found_out(llama, monkeypatch):
    def forgetful(cache, repeats):
        for layer in cache.layers:
            layer.keys = torch.zeros_like(layer.keys).repeat_interleave(repeats, dim=0)
            layer.values = layer.values.repeat_interleave(repeats, dim=0)

    monkeypatch.setattr(shared_prefix.DynamicCache, "batch_repeat_interleave", forgetful)
    with torch.no_grad():
        hidden, cut = last_hidden(llama.model, rows(), 5)
        torch.testing.assert_close(hidden, whole(llama.model, rows()))
    assert cut == 0

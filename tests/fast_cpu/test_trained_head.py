"""The head on trained positions: TRL's figures and gradients, fewer positions scored."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from hfllm.fast_cpu import trained_head

FIELDS = ("log_probs", "entropy", "is_top1")


def score_trained_positions(model):
    return trained_head.score_trained_positions(model, FusedCausalLMOutput)


def fused(llama):
    add_fused_lm_head(llama, outputs=FIELDS)
    return llama


def batch(trained=0.5):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 300, (3, 16), generator=generator)
    labels = torch.where(torch.rand(3, 16, generator=generator) < trained, ids, -100)
    return {"input_ids": ids, "labels": labels, "fused_lm_head": True}


def outputs_and_gradients(model):
    model.zero_grad()
    out = model(**batch())
    (-out.log_probs.sum() / out.label_mask.sum()).backward()
    return out, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("chunk", [2**27, 300 * 5])
def test_figures_and_gradients_are_those_of_trl(llama, monkeypatch, chunk):
    theirs, their_gradients = outputs_and_gradients(fused(llama))
    monkeypatch.setattr(trained_head, "CHUNK", chunk)  # the second: five positions at a time
    assert score_trained_positions(llama)
    ours, our_gradients = outputs_and_gradients(llama)
    for name in (*FIELDS, "label_mask", "loss"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5, msg=name)
    for name, value in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_only_trained_positions_reach_the_head(llama):
    fused(llama)
    score_trained_positions(llama)
    sizes = []
    llama.lm_head.register_forward_hook(
        lambda _, args, __: sizes.append(args[0].shape[:-1].numel())
    )
    inputs = batch()
    llama(**inputs)
    trained = int((inputs["labels"][:, 1:] != -100).sum())
    assert sizes == [trained]
    assert 0 < trained < 45  # of 3 rows of 15 labels


def test_a_batch_without_trained_tokens_gives_a_zero_that_can_be_differentiated(llama):
    fused(llama)
    score_trained_positions(llama)
    out = llama(**batch(trained=0.0))
    assert out.loss == 0
    out.loss.backward()


def test_the_model_itself_answers_as_before(llama):
    inputs = {k: v for k, v in batch().items() if k != "fused_lm_head"}
    before = llama(**inputs)
    score_trained_positions(fused(llama))
    after = llama(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert before.loss == after.loss
    assert llama.generate(inputs["input_ids"], max_new_tokens=2).shape == (3, 18)


def test_a_model_that_caps_its_logits_keeps_the_head_of_trl():
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, head_dim=8)
    heads = dict(num_attention_heads=2, num_key_value_heads=2, vocab_size=300)
    capped = AutoConfig.for_model("gemma2", final_logit_softcapping=0.05, **sizes, **heads)
    model = AutoModelForCausalLM.from_config(capped)
    assert not score_trained_positions(fused(model))


def test_sft_uses_it(trained, monkeypatch):

    seen = []
    monkeypatch.setattr(
        "hfllm.fast_cpu.trained_head.score_trained_positions", lambda *_: seen.append(1)
    )
    trained.run("sft", "sft.trainer.max_steps=1")
    assert len(seen) == 1

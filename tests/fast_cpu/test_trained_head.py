"""The head on trained positions: TRL's figures and gradients, fewer positions scored."""

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TYPES
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from hfllm.fast_cpu import trained_head
from hfllm.fast_cpu.trained_head import why_kept
from hfllm.modeling.eval_mode import eval_mode
from tiny_types import NOT_SMALL, VOCABULARY, tiny_causal

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
    monkeypatch.setattr(trained_head, "HEAD_CHUNK", chunk)  # the second: five positions at a time
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
    model = tiny_causal("gemma2")
    assert not score_trained_positions(fused(model))
    assert "changes its hidden states before the head, or its logits" in why_kept(model)


PLAIN = ("llama", "gpt2", "qwen3", "gemma3_text", "opt", "phi3", "mamba", "stablelm")
CHANGED = ("gemma2", "cohere", "cohere2", "minicpm3", "recurrent_gemma", "nanochat")


def is_scaled(model):
    """Whether logits are the head's matrix times the hidden states, where caps show."""
    ids = torch.randint(4, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
    with eval_mode(model):
        model.get_output_embeddings().weight.mul_(300.0)
        states = model.base_model(ids, use_cache=False).last_hidden_state
        expected, found = model.get_output_embeddings()(states), model(ids, use_cache=False).logits
        return torch.allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("model_type", [*PLAIN, *CHANGED])
def test_a_plain_head_is_known_whatever_the_weights(model_type):
    """An untrained model's logits are far below any cap."""
    model = tiny_causal(model_type)
    assert trained_head.has_plain_head(model) == (model_type in PLAIN) == is_scaled(model)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(set(TYPES) - {*PLAIN, *CHANGED, *NOT_SMALL}))
def test_no_head_of_any_model_type_is_wrongly_called_plain(model_type):
    model = tiny_causal(model_type)
    assert not trained_head.has_plain_head(model) or is_scaled(model)


def test_a_plain_head_is_plain_under_autocast(llama):
    """TRL's reference is prepared: its forward runs in bf16, its trunk called alone does not."""
    torch.nn.init.normal_(llama.get_input_embeddings().weight, std=1.0)
    # as Accelerator.prepare_model does; an Accelerator would change the state of the process
    llama.forward = torch.autocast("cpu", torch.bfloat16)(llama.forward)
    with eval_mode(llama):
        ids = torch.arange(7, 17)[None]
        apart = llama(input_ids=ids).logits - llama.lm_head(llama.model(ids).last_hidden_state)
    assert apart.abs().max() > 1e-3  # what was compared before
    assert trained_head.has_plain_head(llama)


def test_sft_uses_it(trained, monkeypatch):

    seen = []
    monkeypatch.setattr(
        "hfllm.fast_cpu.trained_head.score_trained_positions", lambda *_: seen.append(1)
    )
    trained.run("sft", "sft.trainer.max_steps=1")
    assert len(seen) == 1

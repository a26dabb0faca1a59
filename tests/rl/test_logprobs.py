"""Log-probabilities, entropies and values of unpadded rows equal those of TRL's padded rows."""

import pytest
import torch
from rl_helpers import assert_same, logged, rollout, weights
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM
from trl import GRPOTrainer

SHARED = {"shared_critic": True, "critic": None, "critic_learning_rate": 0.05}


def test_unpadded_rows_give_what_padded_ones_give(build):
    trainer = build(temperature=0.7)
    batch = rollout(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    call = (trainer.model, ids, mask, batch["completion_ids"].size(1), 3, True)
    plain, entropy, _ = trainer._get_per_token_logps_and_entropies(*call)
    fused, fused_entropy, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *call)
    written = batch["completion_mask"]
    torch.testing.assert_close(plain * written, fused * written, atol=2e-6, rtol=0)
    torch.testing.assert_close(entropy * written, fused_entropy * written, atol=2e-6, rtol=0)


def test_experts_are_balanced_as_trl_does_it(build, tokenizer, tmp_path):
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_local_experts=4)
    heads = dict(num_attention_heads=2, num_key_value_heads=2)
    ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, vocab_size=len(tokenizer))
    MixtralForCausalLM(MixtralConfig(**sizes, **heads, **ids)).save_pretrained(tmp_path / "experts")
    policy = MixtralForCausalLM.from_pretrained(tmp_path / "experts", dtype=torch.float32)
    trainer = build(model=policy, router_aux_loss_coef=0.1, max_steps=1)
    assert trainer.aux_loss_enabled
    batch = rollout(trainer)
    whole = [
        torch.cat([batch[f"{x}_{y}"] for x in ("prompt", "completion")], 1) for y in ("ids", "mask")
    ]
    call = (trainer.model, *whole, batch["completion_ids"].size(1), None, True)
    ours = trainer._get_per_token_logps_and_entropies(*call, compute_aux_loss=True)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *call, compute_aux_loss=True)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    trainer.train()
    assert logged(trainer, "aux_loss")[0] > 0


@pytest.mark.parametrize("critic", [{}, SHARED])
def test_the_switch_that_leaves_rows_padded_changes_no_value(build, critic, monkeypatch):
    """HFLLM_SLOW=unpad: one rollout, then the loss of an update on it, both ways."""
    batches, losses, gradients = [], [], []
    for slow in ("", "unpad"):
        monkeypatch.setenv("HFLLM_SLOW", slow)
        trainer = build(**critic, max_completion_length=60)
        torch.manual_seed(3)
        torch.nn.init.normal_(trainer.critic.model.score.weight, std=0.1)
        batch = rollout(trainer, rows=24)  # a few of them end early
        batch["old_per_token_logps"] += 0.1  # so that something is clipped
        losses.append(trainer._compute_loss(trainer.model, batch))
        losses[-1].backward()
        gradients.append({n: p.grad for n, p in trainer.model.named_parameters()})
        written = batch["completion_mask"]
        names = ("old_per_token_logps", "ref_per_token_logps", "values", "returns", "advantages")
        batches.append({name: batch[name] * written for name in names})
    assert (batches[0]["values"] != 0).any() and (written == 0).any()
    assert_same(*batches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    assert_same(*gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("critic", [{}, SHARED])
def test_training_with_padded_rows_is_the_same_training(build, critic, monkeypatch):
    logs, after = [], []
    for slow in ("", "unpad"):
        monkeypatch.setenv("HFLLM_SLOW", slow)
        trainer = build(**critic, max_completion_length=40)
        assert trainer._unpads is not bool(slow)
        trainer.train()
        names = ("loss", "value/loss", "value/mean", "objective/kl", "entropy", "grad_norm")
        logs.append({name: torch.tensor(logged(trainer, name)) for name in names})
        after.append(weights(trainer))
    assert_same(*logs, atol=2e-5, rtol=1e-4)
    assert_same(*after, atol=1e-4, rtol=0)


def test_padded_rows_would_shift_a_table_of_positions(build, tokenizer, monkeypatch):
    monkeypatch.setenv("HFLLM_SLOW", "unpad")
    small = dict(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match="HFLLM_SLOW: .*table of positions.*leave unpad on"):
        build(model=GPT2LMHeadModel(GPT2Config(**small)), beta=0.0)

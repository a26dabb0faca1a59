"""The rollout policy: the policy's weights, a merged adapter, ended rows that leave the batch."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rl_helpers import assert_same, rollout, weights
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from hfllm.fast_cpu.decoding import rows_can_leave
from hfllm.modeling.eval_mode import eval_mode
from hfllm.rl.rollout_policy import RolloutPolicy
from tiny_model import tiny_config

LORA = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
SHARED = {"shared_critic": True, "critic": None, "critic_learning_rate": 0.05}


def test_bf16_copy_samples_with_the_policys_weights(build):
    trainer = build(generate_dtype="bfloat16", max_steps=4)
    copied = trainer.rollout_policy.model
    trainer.train()
    rollout(trainer)
    assert copied.dtype == torch.bfloat16 and trainer.model.dtype == torch.float32
    assert trainer.model_wrapped is not copied
    for name, x in copied.state_dict().items():
        assert torch.equal(x, trainer.model.state_dict()[name].bfloat16())


@pytest.mark.parametrize(
    "extra",
    [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"target_modules": ["embed_tokens"]}],
)
def test_an_adapter_that_cannot_be_merged_is_refused(build, extra):
    lora = LoraConfig(**{"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **extra})
    with pytest.raises(ValueError, match="generate_dtype: an adapter with .* leave generate_dtype"):
        build(peft_config=lora, generate_dtype="bfloat16")


def test_answers_that_have_ended_leave_the_batch_that_is_sampled(build, monkeypatch):
    monkeypatch.setattr("hfllm.rl.rollout_policy.MEASURED_ROWS", 0)
    trainer = build(**SHARED, generate_dtype="bfloat16", max_completion_length=60)
    sizes = []
    trainer.rollout_policy.model.model.layers[0].register_forward_hook(
        lambda _, args, __: sizes.append(len(args[0]))
    )
    batch = rollout(trainer, rows=24)
    lengths = batch["completion_mask"].sum(dim=1)
    assert sizes == [int((lengths > step).sum()) for step in range(int(lengths.max()))]
    assert sizes[-1] < sizes[0] == 24


def test_an_adapter_is_merged_into_the_copy_that_samples(build):
    trainer = build(peft_config=LORA, generate_dtype="bfloat16")
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    before = weights(trainer)
    copied = trainer.rollout_policy
    copied.sync(trainer.model)
    ids = torch.randint(7, 300, (2, 9))
    with torch.no_grad():
        whole = trainer.model(input_ids=ids).logits
        with trainer.model.disable_adapter():
            plain = trainer.model(input_ids=ids).logits
        sampled = copied.model(input_ids=ids).logits.float()
    assert (sampled - whole).abs().max() < 0.2 * (plain - whole).abs().max()
    assert_same(weights(trainer), before, atol=0, rtol=0)


@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "lm_head"]])
def test_the_copy_is_the_policy_where_head_and_embeddings_are_tied(tokenizer, targets):
    torch.manual_seed(0)
    tied = LlamaForCausalLM(tiny_config(tokenizer, tie_word_embeddings=True))
    lora = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    policy = get_peft_model(tied, lora)
    copied = RolloutPolicy(policy, "float32", torch.device("cpu"))
    copied.sync(policy)
    ids = torch.randint(7, 300, (2, 9))
    with torch.no_grad(), eval_mode(policy):
        torch.testing.assert_close(
            copied.model(input_ids=ids).logits, policy(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )


def test_the_kl_of_sampler_and_policy_is_logged_and_a_copy_that_is_none_is_refused(
    build, monkeypatch
):
    trainer = build(**SHARED, generate_dtype="bfloat16")
    rollout(trainer)
    (kl,) = trainer._metrics["train"]["sampler/kl"]
    assert 0 < kl < 1e-3
    assert trainer.critic._states is None

    def sync(self, _):
        self.model.lm_head.weight.data.normal_(std=2.0)

    other = build(generate_dtype="bfloat16")
    monkeypatch.setattr(RolloutPolicy, "sync", sync)
    with pytest.raises(ValueError, match="generate_dtype: the copy .* nats a token .* null"):
        rollout(other)


def test_where_rows_cannot_leave_transformers_own_loop_is_kept(build, monkeypatch):
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, vocab_size=64)
    heads = dict(num_attention_heads=2, num_key_value_heads=2)
    mixed = AutoConfig.for_model("lfm2", layer_types=["conv", "full_attention"], **sizes, **heads)
    assert not rows_can_leave(AutoModelForCausalLM.from_config(mixed))
    trainer = build(**SHARED, generate_dtype="bfloat16")
    assert rows_can_leave(trainer.rollout_policy.model)

    def refuse(*_, **__):
        raise AssertionError("rows leave the batch")

    monkeypatch.setattr("hfllm.rl.rollout_policy.without_ended_rows", refuse)
    with pytest.raises(AssertionError, match="rows leave"):
        rollout(trainer)
    beams = build(**SHARED, generate_dtype="bfloat16", generation_kwargs={"num_beams": 2})
    assert rollout(beams)["completion_ids"].size(0) == 8

"""Policy and critic in one trainer: optimizer groups, clipping, checkpoints, resume, PEFT."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rl_helpers import CHECKPOINTING, assert_same, logged, rollout, weights
from transformers import AutoModelForCausalLM

from hfllm.rl.critic import build_critic
from hfllm.rl.critic_warmup import CriticWarmup


def test_the_critic_has_its_own_learning_rate(build):
    trainer = build(learning_rate=1e-3, critic_learning_rate=0.25, max_steps=4)
    optimizer = trainer.create_optimizer()
    critic = {id(p) for p in trainer.model.critic.parameters()}
    everything = {id(p) for p in trainer.model.parameters()}
    by_rate = {1e-3: set(), 0.25: set()}
    for group in optimizer.param_groups:
        by_rate[group["lr"]] |= {id(p) for p in group["params"]}
    assert by_rate == {1e-3: everything - critic, 0.25: critic}


def test_the_schedule_scales_both_rates(build):
    trainer = build(critic_learning_rate=0.25, max_steps=4, lr_scheduler_type="linear")
    trainer.train()
    trainer.lr_scheduler.optimizer.zero_grad()
    rates = {group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert rates == {1e-3, 0.25}
    assert all(group["lr"] < 1e-9 for group in trainer.optimizer.param_groups)


def test_critic_warmup_moves_the_critic_alone(build):
    trainer = build(critic_warmup_steps=4, max_steps=4)
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith("critic.") for name in moved)


def test_the_warmup_leaves_the_policy_as_it_is_whatever_the_optimizer_does(build):
    """Weight decay and Adam's count of steps too: what follows is a start of its own."""
    settings = dict(critic_warmup_steps=2, weight_decay=0.5, learning_rate=1e-2)
    trainer = build(**settings, max_steps=2)
    before = weights(trainer)
    trainer.train()
    for name, weight in trainer.model.state_dict().items():
        assert name.startswith("critic.") or torch.equal(weight, before[name]), name
    policy = trainer.critic.split_parameters(trainer.model)[0]
    assert not any(p in trainer.optimizer.state for p in policy)
    longer = build(**settings, max_steps=4)
    longer.train()
    policy = longer.critic.split_parameters(longer.model)[0]
    state = longer.optimizer.optimizer.state
    assert {int(state[p]["step"]) for p in policy} == {2}


def test_a_run_killed_in_the_warmup_resumes_to_the_same_bits(build):
    settings = dict(critic_warmup_steps=4, weight_decay=0.1, critic_learning_rate=1e-2)
    straight = build(**settings, max_steps=8, save_strategy="steps", save_steps=3)
    straight.train()
    resumed = build(**settings, max_steps=8)
    resumed.train(resume_from_checkpoint=f"{straight.args.output_dir}/checkpoint-3")
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)


def test_the_warmup_switches_weight_decay_off_where_an_engine_steps_by_itself():
    groups = [{"weight_decay": 0.1}, {"weight_decay": 0.0}, {"weight_decay": 0.1, "critic": True}]
    optimizer, decays = SimpleNamespace(param_groups=groups), []
    warmup = CriticWarmup(SimpleNamespace(critic_warmup_steps=2), None, is_deepspeed=True)
    for step in range(4):
        state = SimpleNamespace(global_step=step)
        warmup.on_step_begin(None, state, None, optimizer=optimizer)
        decays.append([group["weight_decay"] for group in groups])
    assert decays == [[0.0, 0.0, 0.1]] * 2 + [[0.1, 0.0, 0.1]] * 2


def test_large_value_gradients_do_not_shrink_policy_gradients(build):
    small = build(vf_coef=0.1, max_grad_norm=0.5, max_steps=1)
    small.train()
    large = build(vf_coef=1000.0, max_grad_norm=0.5, max_steps=1)
    large.train()
    assert logged(large, "value/grad_norm")[0] > 100 * logged(small, "value/grad_norm")[0]
    assert abs(logged(large, "grad_norm")[0] - logged(small, "grad_norm")[0]) < 1e-4
    left, right = weights(small), weights(large)
    assert_same(
        {k: v for k, v in left.items() if not k.startswith("critic.")},
        {k: v for k, v in right.items() if not k.startswith("critic.")},
    )


def test_saved_are_an_ordinary_policy_and_a_critic(build, tmp_path):
    trainer = build()
    trainer.train()
    trainer.save_model(tmp_path / "model")
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    critic = build_critic(tmp_path / "model" / "critic")
    saved = {f"critic.{name}": x for name, x in critic.state_dict().items()}
    assert_same({**policy.state_dict(), **saved}, weights(trainer), atol=0, rtol=0)
    assert policy.generation_config.eos_token_id == [6, 2]
    assert (tmp_path / "model" / "chat_template.jinja").exists()


@pytest.mark.parametrize("steps,most", [(4, 10), (3, 10), (6, 10), (12, 18), (14, 18)])
def test_resumed_run_equals_straight_at_and_inside_a_rollout(build, steps, most, caplog):
    """4 steps a rollout, 12 an epoch."""
    straight = build(max_steps=most, save_strategy="steps", save_steps=steps)
    straight.train()
    checkpoint = Path(straight.args.output_dir) / f"checkpoint-{steps}"
    assert (checkpoint / "critic" / "model.safetensors").exists()
    assert (checkpoint / "rollout_0.pt").exists() == (steps % 4 > 0)
    resumed = build(max_steps=most)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert_same(weights(straight), weights(resumed), atol=0, rtol=0)
    scores = logged(straight, "objective/score")
    assert logged(resumed, "objective/score")[-1] == scores[-1]
    assert "missing keys" not in caplog.text


def test_activation_checkpointing_changes_nothing_but_memory(build):
    plain = build()
    plain.train()
    saving = build(**{CHECKPOINTING: True})
    saving.train()
    assert_same(weights(plain), weights(saving), atol=1e-6, rtol=0)


def test_lora_policy_with_a_full_critic(build, tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    trainer = build(peft_config=lora, max_steps=8, learning_rate=3e-3, save_steps=4,
                    save_strategy="steps", generate_dtype="bfloat16")  # fmt: skip
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("lora_" in name or name.startswith("critic.") for name in moved)
    # The reference is the adapter switched off: no KL at first, some after an update.
    kl = logged(trainer, "objective/kl")
    assert abs(kl[0]) < 1e-5 < 1e-4 < abs(kl[1])
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-4"
    assert (checkpoint / "adapter_model.safetensors").exists()
    assert not (checkpoint / "model.safetensors").exists()
    resumed = build(peft_config=lora, max_steps=8, learning_rate=3e-3, generate_dtype="bfloat16")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert_same(weights(trainer), weights(resumed), atol=0, rtol=0)


def test_a_trained_adapter_is_its_own_reference(build, policy):
    lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(policy, lora)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    trainer = build(model=adapted, learning_rate=0.0)
    trainer.train()
    assert abs(logged(trainer, "objective/kl")[0]) < 1e-5
    batch = rollout(trainer)
    with trainer.model.disable_adapter():  # the base model is another policy
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        tokens = batch["completion_ids"].size(1)
        base, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, tokens)
    assert (base - batch["ref_per_token_logps"]).abs().max() > 1e-3


def test_best_model_brings_its_critic(build, prompts):
    trainer = build(
        eval_dataset=prompts.select(range(4)),
        per_device_eval_batch_size=4,
        max_steps=8,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
        metric_for_best_model="eval_value/mean",
        greater_is_better=True,
    )
    trainer.train()
    best = build_critic(Path(trainer.state.best_model_checkpoint) / "critic")
    assert_same(best.state_dict(), trainer.model.critic.state_dict(), atol=0, rtol=0)

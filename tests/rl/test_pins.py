"""What PPOTrainer overrides and reads in TRL and transformers; an upgrade that changes it fails."""

import inspect
import re

import pytest
import torch
from transformers import Trainer
from trl import GRPOTrainer

from hfllm.rl.ppo_trainer import PPOTrainer

SIGNATURES = {
    (GRPOTrainer, "_tokenize_prompts"): "prompts",
    (GRPOTrainer, "_generate_single_turn"): (
        "prompt_ids images multimodal_fields num_generations has_tool_images"
    ),
    (GRPOTrainer, "_calculate_rewards"): "inputs prompts completions completion_ids_list",
    (GRPOTrainer, "_generate_and_score_completions"): "inputs",
    (GRPOTrainer, "_get_per_token_logps_and_entropies"): (
        "model input_ids attention_mask logits_to_keep batch_size compute_entropy compute_aux_loss "
        "pixel_values image_grid_thw num_images pixel_attention_mask spatial_shapes num_tiles "
        "image_sizes token_type_ids mm_token_type_ids image_position_ids"
    ),
    (GRPOTrainer, "_prepare_inputs"): "generation_batch",
    (GRPOTrainer, "_get_train_sampler"): "dataset",
    (GRPOTrainer, "_compute_loss"): "model inputs",
    (GRPOTrainer, "log"): "logs start_time",
    (Trainer, "create_optimizer"): "model",
    (Trainer, "_clip_grad_norm"): "model",
    (Trainer, "_save"): "output_dir state_dict",
    (Trainer, "_load_from_checkpoint"): "resume_from_checkpoint model",
    (Trainer, "_load_best_model"): "",
    (GRPOTrainer, "_save_checkpoint"): "model trial",
    (GRPOTrainer, "_load_optimizer_and_scheduler"): "checkpoint",
}


def overrides():
    """Names that our trainer defines and its library's do too."""
    names = {name for name, x in vars(PPOTrainer).items() if inspect.isfunction(x)}
    return {name for name in names if hasattr(GRPOTrainer, name) and name != "__init__"}


def test_the_trainer_is_one_class():
    assert PPOTrainer.__bases__ == (GRPOTrainer,)


def test_every_override_is_pinned():
    assert overrides() == {name for _, name in SIGNATURES}


@pytest.mark.parametrize("owner,name", SIGNATURES)
def test_signature(owner, name):
    parameters = list(inspect.signature(getattr(owner, name)).parameters)[1:]
    assert parameters == SIGNATURES[owner, name].split()


@pytest.mark.parametrize("owner,name", SIGNATURES)
def test_only_the_pinned_class_defines_it(owner, name):
    assert getattr(GRPOTrainer, name) is getattr(owner, name)


OURS = [
    "notes", "meter", "critic", "privileged_critic", "rollout_policy", "_passes", "_rewards",
    "_errors", "_unpads", "_add_critic", "_is_sharded", "_mode", "_sum", "_old_logps_and_values",
    "_critic_values", "_token_rewards", "_add_advantages", "_value_loss", "_say",
    "scored_answers", "critic_warmup", "first_rollouts",
]  # fmt: skip


def test_our_helpers_hide_nothing_of_the_libraries(build):
    source = inspect.getsource(GRPOTrainer) + inspect.getsource(Trainer)
    for name in OURS:
        assert not hasattr(GRPOTrainer, name)
        assert re.search(rf"self\.{name}\b", source) is None
    helpers = {name for name, x in vars(PPOTrainer).items() if inspect.isfunction(x)}
    assert helpers - overrides() - {"__init__"} <= set(OURS)
    assert all(hasattr(build(), name) for name in set(OURS) - {"_rewards"})


def test_attributes_that_we_read(build):
    trainer = build()
    for name in ("eos_token_ids", "reward_weights", "beta", "temperature", "_metrics", "_dist",
                 "_entropy_bonus_enabled", "_tokenizer", "_is_vlm", "tools", "chat_template_kwargs",
                 "use_vllm", "model_wrapped", "ref_model", "num_generations", "_step",
                 "_buffered_inputs", "aux_loss_enabled", "reward_func_names",
                 "is_fsdp_enabled", "is_deepspeed_enabled"):  # fmt: skip
        assert hasattr(trainer, name), name
    assert trainer._dist.is_zero3 is False
    assert set(trainer._metrics) == {"train", "eval"}


def test_what_grpo_puts_into_a_rollout(build):
    trainer = build()
    trainer.model.train()
    batch = GRPOTrainer._generate_and_score_completions(
        trainer, [trainer.train_dataset[i] for i in range(4)]
    )
    assert set(batch) == {
        "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages",
        "num_items_in_batch", "old_per_token_logps", "ref_per_token_logps",
    }  # fmt: skip
    prompt, answer = batch["prompt_mask"], batch["completion_mask"]
    assert (prompt.diff(dim=1) >= 0).all() and (answer.diff(dim=1) <= 0).all()
    assert batch["advantages"].shape == (4,)
    assert batch["num_items_in_batch"] == answer.sum()


def test_the_loss_takes_token_advantages(build):
    trainer = build(beta=0.0)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._generate_and_score_completions([trainer.train_dataset[i] for i in range(4)])
    batch["old_per_token_logps"] += 0.3 * torch.randn_like(batch["old_per_token_logps"])
    per_row = torch.tensor([1.0, -1.0, 2.0, 0.5])
    losses = [
        GRPOTrainer._compute_loss(trainer, trainer.model, {**batch, "advantages": advantages})
        for advantages in (per_row, per_row[:, None].expand_as(batch["advantages"]).clone())
    ]
    torch.testing.assert_close(*losses)
    # and the loss is PPO's: -mean over tokens of min(r A, clip(r) A)
    advantages = torch.randn_like(batch["advantages"])
    loss = GRPOTrainer._compute_loss(trainer, trainer.model, {**batch, "advantages": advantages})
    mask = batch["completion_mask"]
    ratio = (trainer._passes[-1].logps - batch["old_per_token_logps"]).exp()
    clipped = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    share = trainer.current_gradient_accumulation_steps / trainer.args.steps_per_generation
    expected = -(clipped * mask).sum() / (batch["num_items_in_batch"] * share)
    torch.testing.assert_close(loss.detach(), expected)


def test_vllm_syncs_the_policys_parameters_by_name():
    from trl.generation.vllm_generation import VLLMGeneration

    assert "named_parameters" in inspect.getsource(VLLMGeneration._iter_named_params)


def test_the_count_of_tokens_that_a_resumed_run_restores():
    from trl import RewardTrainer, SFTTrainer

    from hfllm.training.resume import COUNTED_BY_TRL

    for trainer in (SFTTrainer, RewardTrainer):
        assert f"self.{COUNTED_BY_TRL} +=" in inspect.getsource(trainer)

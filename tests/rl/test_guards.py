"""Checks before the first rollout: too few prompts, positions, the reference."""

import copy

import pytest
import torch
from rl_helpers import even_tokens
from torch import distributed
from torch.distributed.fsdp import fully_shard
from transformers import (
    BartConfig,
    BartForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    RoFormerConfig,
    RoFormerForCausalLM,
)

from hfllm.rl import guards
from hfllm.rl.ppo_trainer import PPOTrainer
from tiny_types import tiny_causal


def refused(words):
    return pytest.raises(ValueError, match=words)


def test_fewer_prompts_than_a_rollout(settings, prompts):
    guards.check_rollout_fits(settings(), prompts.select(range(8)))
    with refused("7 prompts are fewer than the 8 of one rollout"):
        guards.check_rollout_fits(settings(), prompts.select(range(7)))
    guards.check_rollout_fits(settings(num_generations=4), prompts.select(range(2)))


def test_learned_positions_that_nobody_tells_the_model_are_refused(policy):
    small = dict(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    sizes = dict(d_model=16, decoder_layers=1, decoder_attention_heads=2, init_std=1.0)
    with refused("BartForCausalLM gives other tokens when it samples in batches.*another model"):
        guards.check_left_padding(BartForCausalLM(BartConfig(vocab_size=64, **sizes)))
    # RoFormer's table turns queries and keys: only distances matter
    guards.check_left_padding(RoFormerForCausalLM(RoFormerConfig(is_decoder=True, **small)))
    guards.check_left_padding(GPT2LMHeadModel(GPT2Config(**small)))
    guards.check_left_padding(
        OPTForCausalLM(OPTConfig(ffn_dim=16, word_embed_proj_dim=16, **small))
    )
    guards.check_left_padding(policy)


@pytest.mark.parametrize("model_type", ["llama", "mamba", "lfm2", "gpt_oss", "qwen3_next"])
def test_states_and_caches_that_take_padding_in_stride_are_accepted(model_type):
    guards.check_left_padding(tiny_causal(model_type))


@pytest.mark.parametrize("model_type", ["rwkv", "recurrent_gemma", "minimax", "xlstm", "roberta"])
def test_states_and_caches_that_padding_changes_are_refused(model_type):
    with refused("gives other tokens when it samples in batches"):
        guards.check_left_padding(tiny_causal(model_type))


def test_a_reference_that_cannot_be_the_start_is_refused(
    policy, tokenizer, prompts, settings, reward_folder
):
    common = dict(
        reward_funcs=even_tokens,
        critic=reward_folder,
        train_dataset=prompts,
        processing_class=tokenizer,
    )
    with refused("not loaded from a folder"):
        made = LlamaForCausalLM(LlamaConfig(**policy.config.to_diff_dict()))
        PPOTrainer(made, args=settings(), **common)
    with torch.no_grad():
        policy.model.norm.weight += 1
    with refused("differs from the policy in model.norm.weight"):
        PPOTrainer(policy, args=settings(), **common)


@pytest.fixture
def one_process(tmp_path):
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_a_reference_in_shards_is_compared_too(policy, one_process):
    """As FSDP2 has it: TRL shards the reference at once, the policy when training begins."""
    mesh = distributed.init_device_mesh("cpu", (1,))
    guards.check_reference(policy, fully_shard(copy.deepcopy(policy), mesh=mesh))
    reference = fully_shard(copy.deepcopy(policy), mesh=mesh)
    with torch.no_grad():
        policy.model.norm.weight += 1
    with refused("differs from the policy in model.norm.weight"):
        guards.check_reference(policy, reference)

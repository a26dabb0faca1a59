"""Each key of TRL's config is classified, and does in PPO what its class says."""

import dataclasses

import pytest
from rl_helpers import assert_same, logged, weights
from transformers import TrainingArguments
from trl import GRPOConfig

from hfllm.rl import ppo_keys
from hfllm.rl.ppo_config import OneAnswer, PPOConfig

CPU = {"use_cpu": True, "bf16": False, "report_to": "none"}
OTHER = {  # a value that is not the default, where flipping or adding 1 is none
    "multi_objective_aggregation": "normalize_then_sum", "scale_rewards": "batch",
    "importance_sampling_level": "sequence", "off_policy_mask_threshold": 0.5,
    "transformers_continuous_batching_config": {"page_size": 8}, "neftune_noise_alpha": 5.0,
    "data_seed": 1, "train_sampling_strategy": "sequential",
    "vllm_structured_outputs_regex": "a", "vllm_server_base_url": "http://x", "vllm_mode": "server",
    "vllm_server_host": "x",
    "vllm_model_impl": "transformers", "vllm_gpu_memory_utilization": 0.5,
    "vllm_max_model_length": 8,
    "vllm_importance_sampling_mode": "token_mask", "vllm_importance_sampling_clip_min": 0.1,
    "vllm_importance_sampling_cap": 2.0, "num_completions_to_print": 2,
    "log_completions_hub_repo": "a/b",
}  # fmt: skip
FIELDS = {item.name: item for item in dataclasses.fields(PPOConfig)}


def config(tmp_path, **changes):
    return PPOConfig(str(tmp_path), **{**CPU, **changes})


def other(key):
    default = FIELDS[key].default
    if key in OTHER:
        return OTHER[key]
    return not default if isinstance(default, bool) else default + 1


def test_no_key_of_trl_is_unclassified():
    theirs = {item.name for item in dataclasses.fields(GRPOConfig)}
    theirs -= {item.name for item in dataclasses.fields(TrainingArguments)}
    classes = (ppo_keys.WORKS, ppo_keys.NEEDS, ppo_keys.REFUSED, [ppo_keys.OF_THE_KL_IN_THE_LOSS])
    ours = [key for keys in classes for key in keys]
    assert len(ours) == len(set(ours))  # one class each
    assert theirs - set(ours) == set(), "classify it in rl/ppo_keys.py"
    assert set(ours) - theirs == set()
    assert set(ppo_keys.REFUSED_OF_TRAINER) <= set(FIELDS)
    assert set(ppo_keys.RANGES) <= set(FIELDS)


@pytest.mark.parametrize("key", [*ppo_keys.REFUSED, *ppo_keys.REFUSED_OF_TRAINER])
def test_what_would_do_nothing_or_wrong_is_refused_with_its_reason(tmp_path, key):
    with pytest.raises(ValueError) as caught:
        config(tmp_path, **{key: other(key)})
    message, (reason,) = (
        str(caught.value),
        [table[key] for table in (ppo_keys.REFUSED, ppo_keys.REFUSED_OF_TRAINER) if key in table],
    )
    assert message.startswith("PPO cannot use ") and reason in message and "\n" not in message


@pytest.mark.parametrize("key", [k for k in ppo_keys.NEEDS if k != "log_completions_hub_repo"])
def test_what_needs_another_key_is_refused_without_it_and_taken_with_it(tmp_path, key):
    needed = ppo_keys.NEEDS[key]
    words = f"PPO cannot use (vllm.*|{key}): it has no effect without {needed}"
    with pytest.raises(ValueError, match=words):
        config(tmp_path, **{key: other(key)})
    assert getattr(config(tmp_path, **{key: other(key), needed: True}), needed) is True


def test_the_correction_of_the_kl_needs_a_kl_in_the_loss(tmp_path):
    for changes in ({}, {"kl_in_reward": False, "beta": 0.0}):
        with pytest.raises(ValueError, match="use_bias_correction_kl: it has no effect without"):
            config(tmp_path, use_bias_correction_kl=False, **changes)
    config(tmp_path, use_bias_correction_kl=False, kl_in_reward=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [("gamma", 0.0), ("gamma", 1.1), ("lam", -0.1), ("vf_coef", -1.0), ("cliprange_value", 0.0),
     ("critic_learning_rate", -1e-3), ("critic_warmup_steps", -1), ("reward_clip", 0.0),
     ("num_iterations", 0), ("num_generations", 0)],
)  # fmt: skip
def test_values_out_of_range_are_refused(tmp_path, key, value):
    with pytest.raises(ValueError, match=f"^PPO: {key}: must be .*, not {value}$"):
        config(tmp_path, **{key: value})


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
@pytest.mark.parametrize("accumulation", [1, 2, 3, 5])
def test_one_answer_per_prompt_works_with_every_batch(tmp_path, batch, accumulation):
    made = config(
        tmp_path,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=3,
        eval_strategy="steps",
        eval_steps=1,
    )
    assert type(made.num_generations) is int and made.num_generations == 1
    assert made.generation_batch_size == batch * accumulation
    assert (OneAnswer() < 2) is False and 7 % OneAnswer() == 0


def test_a_single_prompt_a_step_trains(build):
    trainer = build(per_device_train_batch_size=1, steps_per_generation=None,
                    gradient_accumulation_steps=3, num_iterations=1, max_steps=2)  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2


TRIED = [
    {"disable_dropout": False}, {"cast_lm_head_to_fp32": True}, {"num_generations": 2},
    {"max_completion_length": 3}, {"shuffle_dataset": False}, {"pad_to_multiple_of": 16},
    {"steps_per_generation": None, "generation_batch_size": 16}, {"temperature": 0.7},
    {"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1},
    {"generation_kwargs": {"no_repeat_ngram_size": 2}},
    {"chat_template_kwargs": {"extra": 1}}, {"repetition_penalty": 1.2},
    {"cache_implementation": "dynamic"}, {"beta": 0.0}, {"num_iterations": 3},
    {"epsilon": 0.1, "epsilon_high": 0.3, "delta": 1.5}, {"reward_weights": [2.0]},
    {"loss_type": "grpo"}, {"loss_type": "dr_grpo"}, {"loss_type": "bnpo"},
    {"top_entropy_quantile": 0.5}, {"entropy_coef": 0.01},
    {"use_adaptive_entropy": True, "entropy_target": 6.0}, {"log_completions": True},
]  # fmt: skip
NOT_TRIED = {  # of a library, a model or a machine that is not here, or only without a recipe
    "model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "ds3_gather_for_generation",
    "use_vllm", "max_tool_calling_iterations", "num_generations_eval",
}  # fmt: skip


def test_what_works_is_tried():
    tried = {key for changes in TRIED for key in changes} | NOT_TRIED
    assert set(ppo_keys.WORKS) <= tried


@pytest.mark.parametrize("changes", TRIED, ids=str)
def test_it_trains_and_at_learning_rate_zero_nothing_moves(build, changes):
    """With any of them the first ratio is 1 and the KL 0: old and new passes agree."""
    trainer = build(learning_rate=0.0, **changes)
    before = weights(trainer)
    trainer.train()
    assert trainer.state.global_step == 4
    assert_same(before, weights(trainer), atol=0, rtol=0)
    assert max(logged(trainer, "policy/approx_kl")) < 1e-9
    if changes.get("beta") != 0.0:
        assert max(map(abs, logged(trainer, "objective/kl"))) < 1e-4
    other = build(learning_rate=1e-2, **changes)
    other.train()
    moved = weights(other)
    assert all(weight.isfinite().all() for weight in moved.values())
    assert any(not weight.equal(before[name]) for name, weight in moved.items())

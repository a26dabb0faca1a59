"""Every key of TRL's GRPOConfig in PPO: it works, needs another key, or is refused with a reason.

A key that would do nothing is refused: a user who sets it expects something of it. "Refused" means
any value but the default. tests/rl/test_ppo_keys.py fails when TRL adds a key that is not here.
"""

from collections.abc import Iterator
from typing import Any

from hfllm.recipe.ranges import ABOVE_0, ABOVE_0_TO_1, NOT_NEGATIVE, SHARE, Range
from hfllm.rl import rollout_keys
from hfllm.rl.rollout_keys import changed_keys, unusable_keys

WORKS = (
    *rollout_keys.WORKS, "cast_lm_head_to_fp32", "epsilon", "delta", "epsilon_high", "loss_type",
    "top_entropy_quantile", "entropy_coef", "use_adaptive_entropy", "max_tool_calling_iterations",
)  # fmt: skip
NEEDS = rollout_keys.NEEDS | rollout_keys.NEEDS_OF_GRPO

_TRL_GROUPS = "TRL normalises GRPO's groups with it; PPO has whiten_advantages and whiten_rewards"
REFUSED = {
    "multi_objective_aggregation": f"{_TRL_GROUPS}; reward_weights weighs the functions",
    "scale_rewards": _TRL_GROUPS,
    "importance_sampling_level": "PPO's ratio is per token; use 'token'",
    "mask_truncated_completions": "use missing_eos_penalty instead",
    "off_policy_mask_threshold": "it drops whole answers by the sign of their one advantage; "
    "PPO's are per token; the clip range and num_iterations limit how far the policy moves",
    **rollout_keys.REFUSED,
} | dict.fromkeys(
    ("sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_pos", "vespo_lambda_pos",
     "vespo_k_neg", "vespo_lambda_neg"),
    "of a loss_type that PPO has not",
)  # fmt: skip
REFUSED_OF_TRAINER = rollout_keys.REFUSED_OF_TRAINER
# In the loss, so only where the KL is: `kl_problem`.
OF_THE_KL_IN_THE_LOSS = "use_bias_correction_kl"

# Of the numbers in WORKS and NEEDS, and of PPOConfig's own.
RANGES: dict[str, Range] = (
    rollout_keys.RANGES
    | rollout_keys.RANGES_OF_GRPO
    | {
        "gamma": ABOVE_0_TO_1,
        "lam": SHARE,
        "vf_coef": NOT_NEGATIVE,
        "cliprange_value": ABOVE_0,
        "critic_learning_rate": SHARE,
        "critic_warmup_steps": NOT_NEGATIVE,
        "reward_clip": ABOVE_0,
    }
)


def key_problems(config: Any) -> Iterator[str]:
    """One line for each key of a PPOConfig that PPO cannot use as it is set."""
    yield from unusable_keys(config, REFUSED | REFUSED_OF_TRAINER, NEEDS)
    kl_in_loss = config.beta != 0 and not config.kl_in_reward
    if OF_THE_KL_IN_THE_LOSS in changed_keys(config) and not kl_in_loss:
        yield f"{OF_THE_KL_IN_THE_LOSS}: it has no effect without a KL in the loss (kl_in_reward)"

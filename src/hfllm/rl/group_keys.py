"""Every key of TRL's GRPOConfig and RLOOConfig in GRPO and RLOO: it works, or why it is refused.

What they share with PPO stands in rollout_keys.py. tests/rl/test_group_keys.py fails when TRL adds
a key that is not here.
"""

from collections.abc import Callable, Iterator
from typing import Any

from hfllm.recipe.ranges import ABOVE_0, ANY, NOT_NEGATIVE, Range
from hfllm.rl import rollout_keys
from hfllm.rl.rollout_keys import changed_keys, unusable_keys

RLOO_WORKS = (
    *rollout_keys.WORKS, "epsilon", "epsilon_high", "mask_truncated_completions",
    "normalize_advantages", "reward_clip_range",
)  # fmt: skip
GRPO_WORKS = (
    *rollout_keys.WORKS, "cast_lm_head_to_fp32", "loss_type", "top_entropy_quantile",
    "entropy_coef", "use_adaptive_entropy", "mask_truncated_completions",
    "multi_objective_aggregation", "off_policy_mask_threshold",
)  # fmt: skip
REFUSED = rollout_keys.REFUSED | {
    "max_tool_calling_iterations": "a recipe has no key for tools",
}

CLIPPED = ("grpo", "dr_grpo", "dapo", "bnpo", "luspo")  # losses with PPO's clipping
LOSS_TYPES = (*CLIPPED, "cispo", "sapo", "vespo")
_SAPO, _VESPO = ("it is of loss_type sapo", "it is of loss_type vespo")
# {key: (whether it has an effect, why not)}
CONDITIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epsilon": (lambda c: c.loss_type in CLIPPED, "this loss_type clips no ratio with it"),
    "epsilon_high": (
        lambda c: c.loss_type in (*CLIPPED, "cispo"), "this loss_type clips no ratio with it"),
    "delta": (lambda c: c.loss_type in CLIPPED, "this loss_type clips no ratio with it"),
    "importance_sampling_level": (
        lambda c: c.loss_type != "vespo", "vespo weighs whole answers by itself"),
    "scale_rewards": (
        lambda c: c.multi_objective_aggregation == "sum_then_normalize",
        "normalize_then_sum scales each function's rewards by itself"),
    "use_bias_correction_kl": (lambda c: c.beta != 0, "with beta 0 there is no KL"),
    "sapo_temperature_neg": (lambda c: c.loss_type == "sapo", _SAPO),
    "sapo_temperature_pos": (lambda c: c.loss_type == "sapo", _SAPO),
    "vespo_k_pos": (lambda c: c.loss_type == "vespo", _VESPO),
    "vespo_lambda_pos": (lambda c: c.loss_type == "vespo", _VESPO),
    "vespo_k_neg": (lambda c: c.loss_type == "vespo", _VESPO),
    "vespo_lambda_neg": (lambda c: c.loss_type == "vespo", _VESPO),
}  # fmt: skip


# Of the numbers.
_TWO = {"num_generations": Range(2)}  # an answer is compared with the others to its prompt
_OF_A_LOSS = (
    "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_pos", "vespo_lambda_pos",
    "vespo_k_neg", "vespo_lambda_neg",
)  # fmt: skip
GRPO_RANGES: dict[str, Range] = {
    **rollout_keys.RANGES,
    **rollout_keys.RANGES_OF_GRPO,
    **_TWO,
    **dict.fromkeys(_OF_A_LOSS, NOT_NEGATIVE),
    "off_policy_mask_threshold": ABOVE_0,
}
RLOO_RANGES = rollout_keys.RANGES | _TWO | {"reward_clip_range": ANY}
CHOICES = {  # {key of GRPOConfig: its values}
    "loss_type": LOSS_TYPES,
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}


def grpo_problems(config: Any) -> Iterator[str]:
    """One line for each key of our GRPOConfig that GRPO cannot use as it is set."""
    refused = REFUSED | rollout_keys.REFUSED_OF_TRAINER
    needs = rollout_keys.NEEDS | rollout_keys.NEEDS_OF_GRPO
    yield from unusable_keys(config, refused, needs)
    changed = changed_keys(config)
    for key, names in CHOICES.items():
        if getattr(config, key) not in names:
            yield f"{key}={getattr(config, key)}; use {', '.join(names)}"
    for key, (has_effect, why) in CONDITIONS.items():
        if key in changed and not has_effect(config):
            yield f"{key}: it has no effect, {why}"
    if config.loss_type == "cispo" and config.epsilon_high is None:
        yield (
            "loss_type=cispo without epsilon_high, at which it cuts the ratio: TRL would cut it at "
            "epsilon, far below 1; set epsilon_high (5.0 is usual)"
        )
    if config.loss_type == "luspo" and config.importance_sampling_level != "sequence":
        yield "loss_type=luspo with a ratio per token; set importance_sampling_level=sequence"
    yield from _common_problems(config)


def rloo_problems(config: Any) -> Iterator[str]:
    """One line for each key of our RLOOConfig that RLOO cannot use as it is set."""
    refused = rollout_keys.REFUSED | rollout_keys.REFUSED_OF_TRAINER
    yield from unusable_keys(config, refused, rollout_keys.NEEDS)
    clip = config.reward_clip_range
    if clip is not None and not clip[0] < clip[1]:
        yield f"reward_clip_range={list(clip)}; use [lowest, highest], or null"
    yield from _common_problems(config)


def _common_problems(config: Any) -> Iterator[str]:
    if config.mask_truncated_completions and config.missing_eos_penalty:
        yield (
            "mask_truncated_completions with missing_eos_penalty: an answer without an end is left "
            "out of the loss, or is paid less; set missing_eos_penalty to null"
        )
    yield from rollout_keys.dtype_problems(config)

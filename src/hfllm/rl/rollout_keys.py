"""Keys of TRL's configs for rollouts that PPO, GRPO and RLOO treat alike, and how keys are refused.

Every key of GRPOConfig and RLOOConfig works, needs another key, or is refused with a reason; a key
that would do nothing is refused, because a user who sets it expects something of it. "Refused"
means any value but the default. A method's own keys: ppo_keys.py, group_keys.py.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from hfllm.recipe.ranges import (
    ABOVE_0,
    ABOVE_0_TO_1,
    ANY,
    AT_LEAST_1,
    NOT_NEGATIVE,
    SHARE,
    Range,
)

PORT = Range(1, 65535)

# They mean what they do in TRL. (vLLM is TRL's; here it is not tried.)
WORKS = (
    "model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "disable_dropout",
    "num_generations", "num_generations_eval", "max_completion_length",
    "ds3_gather_for_generation", "shuffle_dataset", "pad_to_multiple_of", "generation_batch_size",
    "steps_per_generation", "temperature", "top_p", "top_k", "min_p", "generation_kwargs",
    "chat_template_kwargs", "repetition_penalty", "cache_implementation", "use_vllm", "beta",
    "num_iterations", "reward_weights", "log_completions",
)  # fmt: skip

# {key: the key that must be on, or it has no effect}
NEEDS = dict.fromkeys(
    (
        "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_structured_outputs_regex",
        "vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout",
        "vllm_group_port", "vllm_gpu_memory_utilization", "vllm_max_model_length",
        "vllm_tensor_parallel_size",
    ),
    "use_vllm",
) | dict.fromkeys(
    ("log_multimodal", "num_completions_to_print", "log_unique_prompts"), "log_completions"
)  # fmt: skip
NEEDS_OF_GRPO = dict.fromkeys(
    (
        "vllm_importance_sampling_correction", "vllm_importance_sampling_mode",
        "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
        "vllm_importance_sampling_cap",
    ),
    "use_vllm",
) | dict.fromkeys(
    ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
    "use_adaptive_entropy",
) | {"log_completions_hub_repo": "log_completions"}  # fmt: skip

_REFERENCE = "the reference is not in checkpoints, so a resumed run would have the first one again"
_BATCHING = "TRL casts the policy's own weights for it; use generate_dtype or use_vllm"
REFUSED = {
    "sync_ref_model": _REFERENCE,
    "ref_model_mixup_alpha": _REFERENCE,
    "ref_model_sync_steps": _REFERENCE,
    "use_transformers_continuous_batching": _BATCHING,
    "transformers_continuous_batching_config": _BATCHING,
    "use_transformers_paged": _BATCHING,
}

# Of transformers' TrainingArguments: TRL's trainers do not read them, or training would be wrong.
_SAMPLER = "the order of prompts is TRL's RepeatSampler's: set seed or shuffle_dataset"
REFUSED_OF_TRAINER = {
    "label_smoothing_factor": "there are no labels",
    "neftune_noise_alpha": "noise in the update alone would move the probability ratio from 1",
    "train_sampling_strategy": _SAMPLER,
    "data_seed": _SAMPLER,
    "dataloader_drop_last": "a rollout that the prompts do not fill is always left out",
    "ignore_data_skip": "a resumed run would take the prompts of the first rollout again",
}

# Of the numbers among them: of all three, and of trl's GRPOConfig alone.
RANGES: dict[str, Range] = {
    "router_aux_loss_coef": NOT_NEGATIVE,
    "num_generations": AT_LEAST_1,
    "num_generations_eval": AT_LEAST_1,
    "max_completion_length": AT_LEAST_1,
    "pad_to_multiple_of": AT_LEAST_1,
    "generation_batch_size": AT_LEAST_1,
    "steps_per_generation": AT_LEAST_1,
    "temperature": ABOVE_0,
    "top_p": ABOVE_0_TO_1,
    "top_k": NOT_NEGATIVE,
    "min_p": SHARE,
    "repetition_penalty": ABOVE_0,
    "beta": NOT_NEGATIVE,
    "num_iterations": AT_LEAST_1,
    "epsilon": ABOVE_0,
    "epsilon_high": ABOVE_0,
    "reward_weights": ANY,
    "num_completions_to_print": AT_LEAST_1,
    "vllm_server_port": PORT,
    "vllm_group_port": PORT,
    "vllm_server_timeout": ABOVE_0,
    "vllm_gpu_memory_utilization": ABOVE_0_TO_1,
    "vllm_max_model_length": AT_LEAST_1,
    "vllm_tensor_parallel_size": AT_LEAST_1,
    "missing_eos_penalty": NOT_NEGATIVE,
}
RANGES_OF_GRPO: dict[str, Range] = {
    "delta": ABOVE_0,
    "top_entropy_quantile": ABOVE_0_TO_1,
    "entropy_coef": ANY,
    "entropy_coef_min": ANY,
    "entropy_coef_max": ANY,
    "entropy_coef_delta": NOT_NEGATIVE,
    "entropy_target": NOT_NEGATIVE,
    "max_tool_calling_iterations": NOT_NEGATIVE,
    "vllm_importance_sampling_clip_max": ABOVE_0,
    "vllm_importance_sampling_clip_min": NOT_NEGATIVE,
    "vllm_importance_sampling_cap": ABOVE_0,
}


def unusable_keys(
    config: Any, refused: Mapping[str, str], needs: Mapping[str, str]
) -> Iterator[str]:
    """One line for each key of a config that is refused, or has no effect.

    Args:
        config: a dataclass of TRL's, or of ours on it.
        refused: {key: reason}.
        needs: {key: the key that must be on}.
    """
    changed = changed_keys(config)
    for key, reason in refused.items():
        if key in changed:
            yield f"{key}={getattr(config, key)}: {reason}"
    for key, needed in needs.items():
        if key in changed and not getattr(config, needed):
            yield f"{key}: it has no effect without {needed}"


def dtype_problems(config: Any) -> Iterator[str]:
    """One line if `generate_dtype` is none, or is set beside vLLM."""
    if config.generate_dtype not in (None, "bfloat16", "float16"):
        yield f"generate_dtype={config.generate_dtype}; use null, 'bfloat16' or 'float16'"
    if config.generate_dtype is not None and config.use_vllm:
        yield "generate_dtype with vLLM, which has its own dtype; leave it null"


def changed_keys(config: Any) -> set[str]:
    """The keys whose value is not the default."""
    out = set()
    for item in dataclasses.fields(config):
        default: Any = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        if getattr(config, item.name) != default:
            out.add(item.name)
    return out

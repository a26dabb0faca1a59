"""Parts of a PPOTrainer that its settings and its model decide on; each adds its notes.

`fast_head`: the CPU head that skips prompt tokens, on policy and reference. `privileged_critic`:
the prefix features of the reward functions. `rollout_policy`: the low-precision copy that samples.
"""

from typing import Any

from hfllm.fast_cpu.trained_head import Scoring
from hfllm.rl.logprobs import score_written_tokens_only
from hfllm.rl.prefix_features import features_of
from hfllm.rl.privileged_critic import PrivilegedCritic
from hfllm.rl.rollout_policy import RolloutPolicy


def install_fast_head(trainer: Any, is_sharded: bool) -> None:
    """Install the CPU head that skips prompt tokens on policy and reference."""
    if is_sharded:
        trainer.notes.append("the policy is sharded: TRL's head is kept, slower on a CPU")
    elif trainer.args.cast_lm_head_to_fp32:
        trainer.notes.append("cast_lm_head_to_fp32: TRL's head is kept, slower on a CPU")
    else:
        how = Scoring(trainer.temperature, entropy_grad=trainer._entropy_bonus_enabled)
        models = [m for m in (trainer.model, trainer.ref_model) if m is not None]
        plain = [trainer.accelerator.unwrap_model(model) for model in models]
        trainer.notes += score_written_tokens_only(plain, how)


def make_privileged_critic(trainer: Any, reduce: Any) -> PrivilegedCritic:
    """The critic of the reward functions' prefix features; `reduce` sums over processes."""
    sources = features_of(trainer.reward_funcs, trainer.reward_func_names)
    used = sources if trainer.args.privileged_critic else []
    critic = PrivilegedCritic(used, trainer._tokenizer, reduce, has_tools=bool(trainer.tools))
    trainer.notes += critic.notes
    return critic


def make_rollout_policy(trainer: Any, is_sharded: bool) -> RolloutPolicy | None:
    """The copy of the policy that samples, or None without `generate_dtype`."""
    if trainer.args.generate_dtype is None:
        return None
    if is_sharded:
        trainer.notes.append("generate_dtype: no effect, a sharded policy is not copied")
        return None
    device = trainer.accelerator.device
    return RolloutPolicy(trainer.model, trainer.args.generate_dtype, device)


def gradient_depends_on_rows(trainer: Any) -> bool:
    """Whether the gradient of a step depends on which of its rows share a micro-batch.

    Some metrics always do: they are means of the means of micro-batches.
    """
    return bool(
        trainer.args.loss_type != "dapo"
        or trainer.aux_loss_enabled
        or trainer._entropy_bonus_enabled
        or trainer.top_entropy_quantile < 1.0
    )

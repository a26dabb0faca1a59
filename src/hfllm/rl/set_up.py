"""Parts of a trainer on rollouts that its settings and model decide on; each adds its notes.

`fast_head`: the CPU head that skips prompt tokens, on policy and reference. `privileged_critic`:
the prefix features of the reward functions. `rollout_policy`: the low-precision copy that samples.
"""

from typing import Any

from trl import RLOOTrainer

from hfllm.fast_cpu.trained_head import Scoring
from hfllm.rl import guards
from hfllm.rl.logprobs import score_written_tokens_only
from hfllm.rl.prefix_features import features_of
from hfllm.rl.privileged_critic import PrivilegedCritic
from hfllm.rl.rewards import place_reward_models
from hfllm.rl.rollout_policy import RolloutPolicy
from hfllm.rl.unpad import sort_by_length


def check_models(trainer: Any) -> None:
    """Check the policy and the reference of a trainer that was just built; place reward models."""
    guards.check_left_padding(trainer.model)
    # None with beta 0, and with PEFT, where the reference is the policy without its adapter.
    if trainer.ref_model is not None:
        reference = trainer.accelerator.unwrap_model(trainer.ref_model)
        guards.check_reference(trainer.model, reference)
    place_reward_models(trainer.reward_funcs, trainer.accelerator)


def install_fast_head(trainer: Any, is_sharded: bool) -> None:
    """Install the CPU head that skips prompt tokens on policy and reference."""
    if is_sharded:
        trainer.notes.append("the policy is sharded: TRL's head is kept, slower on a CPU")
    elif not isinstance(trainer, RLOOTrainer) and trainer.args.cast_lm_head_to_fp32:
        trainer.notes.append("cast_lm_head_to_fp32: TRL's head is kept, slower on a CPU")
    else:
        bonus = not isinstance(trainer, RLOOTrainer) and trainer._entropy_bonus_enabled
        how = Scoring(trainer.temperature, entropy_grad=bonus)
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
    if isinstance(trainer, RLOOTrainer):  # a mean of rows
        return bool(trainer.aux_loss_enabled)
    return bool(
        trainer.args.loss_type != "dapo"
        or trainer.aux_loss_enabled
        or trainer._entropy_bonus_enabled
        or trainer.top_entropy_quantile < 1.0
    )


def sorted_rows(trainer: Any, inputs: Any, before: Any) -> Any:
    """TRL's micro-batch of this step; in a new rollout each step's rows are sorted by length first.

    Args:
        trainer: has a new rollout in TRL's `_buffered_inputs` if that is not `before`.
        inputs: the micro-batch that TRL chose.
        before: `_buffered_inputs` before TRL chose it.
    """
    rollout = trainer._buffered_inputs
    if rollout is before or rollout is None:
        return inputs
    steps, together = (
        trainer.args.steps_per_generation or 1,
        trainer.args.gradient_accumulation_steps,
    )
    may_sort = not gradient_depends_on_rows(trainer) and steps % together == 0
    if may_sort and not trainer._is_vlm and trainer._unpads:  # padded rows are as wide in any order
        trainer._buffered_inputs = sort_by_length(rollout, together)
    return trainer._buffered_inputs[trainer._step % steps]

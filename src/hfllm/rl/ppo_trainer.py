"""PPO (Schulman et al. 2017; for language models Ouyang et al. 2022) on TRL's GRPOTrainer.

A rollout: GRPO generates, computes the reference's log-probabilities and the rewards -> old
log-probabilities and the critic's values -> token rewards -> GAE -> advantages (B, T), values and
returns travel with the batch. An update: GRPO's clipped policy loss on the (B, T) advantages, plus
a clipped value loss, in one backward. On two CPU cores and 5.8M parameters an update takes a bit
over half of the time, generation a third.

Why on GRPOTrainer: chat prompts, reward functions, tools, vLLM, PEFT, ZeRO, logging and resume are
there and maintained; TRL's own PPOTrainer is gone. Each override calls super(), but for the passes
over texts (passes.py), and is pinned to the installed TRL by tests/rl/test_pins.py. The critic is a
submodule of the policy (see critic.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hfllm.rl.advantages import (
    explained_variance,
    final_score,
    gae,
    has_ended,
    token_rewards,
    whiten,
)
from hfllm.rl.config import PPOConfig
from hfllm.rl.critic import without_critic
from hfllm.rl.privileged_critic import InformedTrainer
from hfllm.rl.rollout_policy import LowPrecisionCopy
from hfllm.tokenization.loss_mask import render

Batch = dict[str, Any]


class PPOTrainer(InformedTrainer):
    """GRPOTrainer with a critic.

    Args:
        model: the policy, a causal LM loaded from a folder, or that folder.
        reward_funcs: callables (rewards.py) or reward models, one or a list.
        args: settings.
        critic: the critic's folder (a reward model, or a language model), or the model; None with
            `shared_critic`.
        **kwargs: GRPOTrainer's others: train_dataset (column `prompt`: messages; other columns go
            to the reward functions), eval_dataset, processing_class, callbacks, peft_config, tools.

    Raises:
        ValueError: where PPO would silently do something else (guards.py).
    """

    _tag_names = ["trl", "ppo"]
    _name = "PPO"
    _paper = {"title": "Proximal Policy Optimization Algorithms", "id": "1707.06347"}

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any,
        args: PPOConfig,
        critic: str | Path | PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the trainer and, if asked for, the copy that samples."""
        super().__init__(model, reward_funcs, args, critic, **kwargs)
        self._copy = self._low_precision_copy()

    # ---- generation

    def _low_precision_copy(self) -> LowPrecisionCopy | None:
        if self.args.generate_dtype is None:
            return None
        if self._is_sharded():
            self.notes.append("generate_dtype: the policy is in shards, it samples itself")
            return None
        return LowPrecisionCopy(self.model, self.args.generate_dtype, self.accelerator.device)

    def _tokenize_prompts(self, prompts: list) -> Any:
        """Render chat prompts as in training: control tokens that a prompt spells stay text."""
        plain_text = isinstance(prompts[0], str)
        if plain_text or self._is_vlm or self.tools or self.chat_template_kwargs:
            return super()._tokenize_prompts(prompts)
        rendered = [render(self._tokenizer, p, add_generation_prompt=True) for p in prompts]
        return [row.input_ids for row in rendered], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        """Sample from the low-precision copy; hide the critic from vLLM's weight sync."""
        policy = self.accelerator.unwrap_model(self.model)
        with (
            self._timed("generate"),
            without_critic(policy) if self.use_vllm else nullcontext(),
            self._sampling_from_copy(policy),
        ):
            return super()._generate_single_turn(*args, **kwargs)

    @contextmanager
    def _sampling_from_copy(self, policy: torch.nn.Module) -> Iterator[None]:
        wrapped = self.model_wrapped
        if self._copy is not None:
            self._copy.sync(policy)
            self.model_wrapped = self._copy.model
        try:
            yield
        finally:
            self.model_wrapped = wrapped

    # ---- rollout

    def _calculate_rewards(self, inputs: Any, prompts: Any, *args: Any) -> torch.Tensor:
        """Keep this process's scores (B,): GRPO's output holds only group-normalised advantages."""
        per_function = super()._calculate_rewards(inputs, prompts, *args)  # (B x processes, F)
        start = self.accelerator.process_index * len(prompts)
        mine = per_function[start : start + len(prompts)]
        self._scores = (mine * self.reward_weights.to(mine.device)).nansum(dim=1)
        self._scored = ~mine.isnan().all(dim=1)  # (B,): some function had an opinion
        return per_function

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        """GRPO's rollout with values, returns and token advantages (B, T)."""
        self._pass_values.clear()
        with self._timed("rollout"):
            batch = super()._generate_and_score_completions(inputs)
            self._add_logps_and_values(batch)
            written = (batch["completion_mask"] * batch.get("tool_mask", 1)).float()  # (B, T)
            # What no reward function could score teaches neither policy nor critic.
            mask = written * self._scored[:, None]
            kl = None
            if self.beta != 0.0:
                kl = (batch["old_per_token_logps"] - batch["ref_per_token_logps"]) * mask
            ended = has_ended(batch["completion_ids"], written, self.eos_token_ids)
            score = final_score(
                self._scores, ended, self.args.reward_clip, self.args.missing_eos_penalty
            )
            rewards = token_rewards(
                score, mask, kl if self.args.kl_in_reward else None, beta=self.beta
            )
            if self.args.whiten_rewards:
                rewards = whiten(rewards, mask, self._sum, shift=False)
            advantages, returns = gae(
                rewards, batch["values"], mask, self.args.gamma, self.args.lam
            )
            if self.args.whiten_advantages:
                advantages = whiten(advantages, mask, self._sum)
            batch.update(advantages=advantages, returns=returns, value_mask=mask)
            self._learn_facts(batch)
        self._note("completions/ended", ended)
        self._note("objective/score", score[self._scored])
        if kl is not None:
            self._note("objective/kl", kl.sum(dim=1)[self._scored])
            self._note("objective/reward", (score - self.beta * kl.sum(dim=1))[self._scored])
        self._note("value/mean", batch["values"][mask > 0])
        explained = explained_variance(batch["values"], returns, mask, self._sum)
        self._note("value/explained_variance", explained)
        return batch

    # ---- update

    def _compute_loss(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """GRPO's clipped policy loss plus the clipped value loss."""
        beta = self.beta
        if self.args.kl_in_reward:
            self.beta = 0.0  # the KL is in the rewards already
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        log_ratio = self._new_logps - inputs["old_per_token_logps"]
        written = inputs["value_mask"] > 0
        self._note("policy/approx_kl", (log_ratio.exp() - 1 - log_ratio)[written])
        if self.model.training and self.state.global_step < self.args.critic_warmup_steps:
            loss = loss * 0.0
        return loss + self.args.vf_coef * self._value_loss(model, inputs)

    def _value_loss(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """Half the larger of plain and clipped squared error, per token of the rollout."""
        mask, old, target = inputs["value_mask"], inputs["values"], inputs["returns"]
        values = self._update_values(model, inputs)  # (B, T)
        clip = self.args.cliprange_value
        plain = (values - target) ** 2
        clipped = (old + (values - old).clamp(-clip, clip) - target) ** 2
        errors = 0.5 * torch.max(plain, clipped)
        self._note("value/loss", errors[mask > 0])
        self._note("value/clip_ratio", (clipped > plain)[mask > 0])
        # As GRPO's "dapo" loss: every token of the rollout weighs the same, on whatever process
        # and in whatever micro-batch it lies.
        tokens = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps
            tokens = tokens / self.args.steps_per_generation
        return (errors * mask).sum() / tokens

"""PPO (Schulman et al. 2017; for language models Ouyang et al. 2022) on TRL's GRPOTrainer.

A rollout: GRPO generates, computes the reference's log-probabilities and the rewards -> old
log-probabilities and the critic's values -> token rewards -> GAE -> advantages (B, T), values and
returns travel with the batch (rollout.py). An update: GRPO's clipped policy loss on the (B, T)
advantages, plus a clipped value loss, in one backward. On two CPU cores and 5.8M parameters an
update takes a bit over half of the time, generation a third.

Why on GRPOTrainer: chat prompts, reward functions, tools, vLLM, PEFT, ZeRO, logging and resume are
there and maintained; TRL's own PPOTrainer is gone. Each override calls super(), but for the pass
over texts (logprobs.py), and is pinned to the installed TRL by tests/rl/test_pins.py. What PPO
needs beside it are parts that the trainer has: the critic, a submodule of the policy (critic.py);
the privileged critic; the rollout policy, which samples; the meter.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import RepeatSampler, disable_dropout_in_model

from hfllm.fast_cpu import is_on
from hfllm.fast_cpu.trained_head import Scoring
from hfllm.rl import guards
from hfllm.rl.advantages import (
    explained_variance,
    final_score,
    gae,
    has_ended,
    token_rewards,
    whiten,
)
from hfllm.rl.config import PPOConfig
from hfllm.rl.critic import Critic, build_critic, build_value_head, split_state
from hfllm.rl.logprobs import (
    ForwardPass,
    critic_values,
    score_answers,
    score_written_tokens_only,
)
from hfllm.rl.meters import Meter
from hfllm.rl.privileged_critic import PrivilegedCritic, features_of
from hfllm.rl.prompt_sampler import ResumableSampler
from hfllm.rl.rewards import place_reward_models
from hfllm.rl.rollout import Batch, Rollout, load_micro_batches, save_micro_batches
from hfllm.rl.rollout_policy import RolloutPolicy
from hfllm.rl.unpad import by_length, unpadded_chunks
from hfllm.tokenization.loss_mask import render


class PPOTrainer(GRPOTrainer):
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

    args: PPOConfig
    model: PreTrainedModel

    # What TRL's own methods, which call two of ours, have no room for in what they return:
    _passes: list[ForwardPass]  # values; of a rollout the policy's pass, then the reference's
    _rewards: torch.Tensor  # (B, F), this process's, of each function (NaN for None)

    # ---- set-up

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any,
        args: PPOConfig,
        critic: str | Path | PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Check what PPO gets silently wrong, build both models, and join them."""
        guards.check_rollout_fits(args, kwargs.get("train_dataset"))
        guards.check_policy_folder(model, args, kwargs.get("peft_config"))
        if args.shared_critic == (critic is not None):
            raise ValueError("give a critic, or set shared_critic: one of the two")
        if critic is not None and not isinstance(critic, PreTrainedModel):
            critic = build_critic(critic)
        super().__init__(model=model, reward_funcs=reward_funcs, args=args, **kwargs)
        guards.check_positions(self.model)
        # None with beta 0, and with PEFT: there the adapter switched off is the reference.
        if self.ref_model is not None:
            guards.check_reference(self.model, self.accelerator.unwrap_model(self.ref_model))
        place_reward_models(self.reward_funcs, self.accelerator)
        self._passes = []
        self.notes: list[str] = []  # what is not done as a user would think, for the manifest
        self.meter = Meter(self._metrics, self._mode, self._sum)
        self.critic = self._hang_in(build_value_head(self.model) if critic is None else critic)
        self._unpads = is_on("unpad")  # off: rows are run as TRL lays them out
        if not self._unpads:
            guards.check_padded_rows(self.model)  # the critic is in it
        if self.accelerator.device.type == "cpu":  # on a GPU TRL's kernels are as cheap
            self._score_written_tokens_only()
        self.privileged_critic = self._make_privileged_critic()
        self.rollout_policy = self._make_rollout_policy()

    def _hang_in(self, critic: PreTrainedModel) -> Critic:
        if self.args.disable_dropout:
            disable_dropout_in_model(critic)
        policy = self.accelerator.unwrap_model(self.model)
        return Critic(policy, critic.to(self.accelerator.device))

    def _score_written_tokens_only(self) -> None:
        """Put the cheap head on policy and reference."""
        if self._is_sharded:
            self.notes.append("the policy is in shards: trl's head is kept, slower on a CPU")
        elif self.args.cast_lm_head_to_fp32:
            self.notes.append("cast_lm_head_to_fp32: trl's head is kept, slower on a CPU")
        else:
            how = Scoring(self.temperature, entropy_grad=self._entropy_bonus_enabled)
            models = [m for m in (self.model, self.ref_model) if m is not None]
            plain = [self.accelerator.unwrap_model(model) for model in models]
            self.notes += score_written_tokens_only(plain, how)

    def _make_privileged_critic(self) -> PrivilegedCritic:
        sources = features_of(self.reward_funcs, self.reward_func_names)
        told = sources if self.args.privileged_critic else []
        critic = PrivilegedCritic(told, self._tokenizer, self._sum, has_tools=bool(self.tools))
        self.notes += critic.notes
        return critic

    def _make_rollout_policy(self) -> RolloutPolicy | None:
        if self.args.generate_dtype is None:
            return None
        if self._is_sharded:
            self.notes.append("generate_dtype: the policy is in shards, it samples itself")
            return None
        return RolloutPolicy(self.model, self.args.generate_dtype, self.accelerator.device)

    @property
    def _is_sharded(self) -> bool:
        """Whether a process holds a part of each weight only."""
        return bool(self._dist.is_zero3 or self.is_fsdp_enabled)

    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """Sum over processes."""
        return self.accelerator.reduce(x, reduction="sum")

    # ---- generation

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        """TRL's order of prompts, which a resumed run finds again in any epoch."""
        return ResumableSampler(super()._get_train_sampler(dataset), self)

    def _tokenize_prompts(self, prompts: list) -> Any:
        """Render chat prompts as in training: control tokens that a prompt spells stay text."""
        plain_text = isinstance(prompts[0], str)
        if plain_text or self._is_vlm or self.tools or self.chat_template_kwargs:
            return super()._tokenize_prompts(prompts)
        rendered = [render(self._tokenizer, p, add_generation_prompt=True) for p in prompts]
        return [row.input_ids for row in rendered], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        """Sample from the rollout policy; hide the critic from vLLM's weight sync."""
        policy, copy = self.accelerator.unwrap_model(self.model), self.rollout_policy
        with (
            self.meter.timed("generate"),
            self.critic.detached() if self.use_vllm else nullcontext(),
            copy.sampling_for(self, policy) if copy else nullcontext(),
        ):
            return super()._generate_single_turn(*args, **kwargs)

    # ---- rollout

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        """GRPO's rollout with values, returns and token advantages (B, T)."""
        self._passes.clear()
        with self.meter.timed("rollout"):
            batch = super()._generate_and_score_completions(inputs)
            rollout = Rollout.from_batch(batch)
            critic_values = self._old_logps_and_values(rollout)
            answers, width = rollout.answers(), critic_values.size(1)
            features = self.privileged_critic.observe(inputs, answers, width)  # (B, T, K)
            features = features.to(critic_values.device)
            told = self.privileged_critic.predict(features)
            rollout.privileged_values = told * rollout.completion_mask
            rollout.values = critic_values + rollout.privileged_values
            # What no reward function could score teaches neither policy nor critic.
            scored = ~self._rewards.isnan().all(dim=1)  # (B,)
            rollout.value_mask = rollout.written * scored[:, None]
            self._add_advantages(rollout, self._token_rewards(rollout, scored))
            if self.model.training:
                # The part of the returns that the critic's model left.
                left = rollout.returns - (rollout.values - rollout.privileged_values)
                self.privileged_critic.update(features, left, rollout.value_mask)
        values, mask = rollout.values, rollout.value_mask
        self.meter.note("value/mean", values[mask > 0])
        explained = explained_variance(values, rollout.returns, mask, self._sum)
        self.meter.note("value/explained_variance", explained)
        return rollout.to_batch(batch)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """GRPO's micro-batches, those of an optimizer step in order of length."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or self._buffered_inputs is None:
            return inputs
        steps, together = self.args.steps_per_generation or 1, self.args.gradient_accumulation_steps
        # Only where the gradient does not mind which rows share a micro-batch. (Some metrics do:
        # they are means of micro-batches' means.)
        by_micro_batch = (
            self.args.loss_type != "dapo"
            or self.aux_loss_enabled
            or self._entropy_bonus_enabled
            or self.top_entropy_quantile < 1.0
        )
        may_sort = not by_micro_batch and steps % together == 0 and not self._is_vlm
        if may_sort and self._unpads:  # padded rows are as wide in any order
            self._buffered_inputs = by_length(self._buffered_inputs, together)
        return self._buffered_inputs[self._step % steps]

    # ---- log-probabilities and values

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """GRPO's, (B, T) each, of unpadded rows; values beside it if the critic is shared."""
        rows = (input_ids, attention_mask, logits_to_keep)
        images = any(x is not None for key, x in others.items() if key != "compute_aux_loss")
        if images or not self._unpads:  # images stand by the padded rows
            size = None if self.critic.is_head else batch_size  # the head reads one chunk
            self.critic.forget_states()
            logps, entropies, aux = super()._get_per_token_logps_and_entropies(
                model, *rows, size, compute_entropy, **others
            )
            values = self.critic.values_of_pass()
            values = None if values is None else values[:, -logits_to_keep:]
            found = ForwardPass(logps, entropies, aux, values)
        else:
            # Without a backward no activations are held: twice the rows that an update takes.
            size = len(input_ids) if batch_size is None else 2 * batch_size
            aux_loss = others.get("compute_aux_loss", False)
            chunks = unpadded_chunks(*rows, size)
            found = score_answers(model, chunks, self.critic, self.accelerator.autocast, aux_loss)
        self._passes.append(found)
        return found.logps, found.entropies, found.aux_loss

    def _old_logps_and_values(self, rollout: Rollout) -> torch.Tensor:
        """Old log-probabilities, where GRPO left them out; returns the critic's values (B, T)."""
        args, training = self.args, self.model.training
        size = args.per_device_train_batch_size if training else args.per_device_eval_batch_size
        checkpointing: Any = args.gradient_checkpointing_kwargs
        with disable_gradient_checkpointing(self.model, checkpointing):
            own = 0  # GRPO's first pass of a rollout is the old policy's, the reference's follows
            if not hasattr(rollout, "old_per_token_logps"):  # each rollout is used once
                own = len(self._passes)
                rollout.old_per_token_logps, _, _ = self._get_per_token_logps_and_entropies(
                    self.model, *rollout.rows, batch_size=size
                )
            values = self._values_beside(self._passes[own], rollout, 2 * size)
        self._passes.clear()
        return values * rollout.completion_mask

    def _values_beside(self, policy_pass: ForwardPass, rollout: Rollout, size: int) -> torch.Tensor:
        """The critic's values (B, T): of the policy's pass, or of its own, `size` rows at once."""
        if policy_pass.values is not None:
            return policy_pass.values
        with self.accelerator.autocast():
            return critic_values(self.critic.model, rollout.rows, size, self._unpads)

    # ---- scores and advantages

    def _calculate_rewards(self, inputs: Any, prompts: Any, *args: Any) -> torch.Tensor:
        """Keep this process's rewards: GRPO's output holds only group-normalised advantages."""
        per_function = super()._calculate_rewards(inputs, prompts, *args)  # (B x processes, F)
        start = self.accelerator.process_index * len(prompts)
        self._rewards = per_function[start : start + len(prompts)]
        return per_function

    def _token_rewards(self, rollout: Rollout, scored: torch.Tensor) -> torch.Tensor:
        """Rewards (B, T): the score at the last token, the KL at each if it is in the reward."""
        args, mask, kl = self.args, rollout.value_mask, None
        if rollout.ref_per_token_logps is not None:
            kl = (rollout.old_per_token_logps - rollout.ref_per_token_logps) * mask
        ended = has_ended(rollout.completion_ids, rollout.written, self.eos_token_ids)
        score = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(dim=1)
        score = final_score(score, ended, args.reward_clip, args.missing_eos_penalty)  # (B,)
        rewards = token_rewards(score, mask, kl if args.kl_in_reward else None, beta=self.beta)
        self.meter.note("completions/ended", ended)
        self.meter.note("objective/score", score[scored])
        if kl is not None:
            self.meter.note("objective/kl", kl.sum(dim=1)[scored])
            self.meter.note("objective/reward", (score - self.beta * kl.sum(dim=1))[scored])
        return whiten(rewards, mask, self._sum, shift=False) if args.whiten_rewards else rewards

    def _add_advantages(self, rollout: Rollout, rewards: torch.Tensor) -> None:
        """GAE of token rewards (B, T), whitened over the rollout."""
        mask, args = rollout.value_mask, self.args
        advantages, returns = gae(rewards, rollout.values, mask, args.gamma, args.lam)
        if args.whiten_advantages:
            advantages = whiten(advantages, mask, self._sum)
        rollout.advantages, rollout.returns = advantages, returns

    # ---- update

    def _compute_loss(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """GRPO's clipped policy loss plus the clipped value loss."""
        rollout = Rollout.from_batch(inputs)
        beta = self.beta
        if self.args.kl_in_reward:
            self.beta = 0.0  # the KL is in the rewards already
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        new = self._passes.pop()  # the one that the loss was computed from
        log_ratio = new.logps.detach() - rollout.old_per_token_logps
        written = rollout.value_mask > 0
        self.meter.note("policy/approx_kl", (log_ratio.exp() - 1 - log_ratio)[written])
        if self.model.training and self.state.global_step < self.args.critic_warmup_steps:
            loss = loss * 0.0
        values = self._values_beside(new, rollout, len(rollout.values)) + rollout.privileged_values
        return loss + self.args.vf_coef * self._value_loss(values, rollout)

    def _value_loss(self, values: torch.Tensor, rollout: Rollout) -> torch.Tensor:
        """Half the larger of plain and clipped squared error of new values (B, T), per token."""
        mask, old, target = rollout.value_mask, rollout.values, rollout.returns
        clip = self.args.cliprange_value
        plain = (values - target) ** 2
        clipped = (old + (values - old).clamp(-clip, clip) - target) ** 2
        errors = 0.5 * torch.max(plain, clipped)
        self.meter.note("value/loss", errors[mask > 0])
        self.meter.note("value/clip_ratio", (clipped > plain)[mask > 0])
        # As GRPO's "dapo" loss: every token of the rollout weighs the same, on whatever process
        # and in whatever micro-batch it lies.
        tokens = rollout.num_items_in_batch.clamp(min=1) / self.accelerator.num_processes
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps
            tokens = tokens / self.args.steps_per_generation
        return (errors * mask).sum() / tokens

    # ---- optimizer

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Give the critic's parameters groups of their own, with their own learning rate."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            rate = self.args.critic_learning_rate
            self.critic.split_groups(optimizer, self.args.learning_rate if rate is None else rate)
        return optimizer

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        """Clip the two apart: under a shared norm, large value gradients shrink policy steps."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return super()._clip_grad_norm(model)  # their engines know one norm only
        policy, critic = self.critic.split_parameters(model)
        norm = self.accelerator.clip_grad_norm_(policy, self.args.max_grad_norm)
        own = torch.nn.utils.clip_grad_norm_(critic, self.args.max_grad_norm)
        self._metrics["train"]["value/grad_norm"].append(own.item())
        return norm

    # ---- checkpoint: an ordinary policy, critic/ beside it, and a rollout that is still in use,
    # so that a run resumes exactly from any step (GRPOTrainer would generate anew)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Save an ordinary policy, and the critic in `critic/` beside it."""
        folder = str(self.args.output_dir if output_dir is None else output_dir)
        state_dict, critic_state = split_state(state_dict)  # gathered by DeepSpeed or FSDP
        with self.critic.detached():
            super()._save(folder, state_dict)
        if self.args.should_save:
            self.critic.save(folder, critic_state)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Keep the rollout that is still in use, and what the privileged critic has learned."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        used = self._step % ((self.args.steps_per_generation or 1) * self.num_iterations)
        if used and self._buffered_inputs is not None:
            save_micro_batches(self._rollout_file(folder), used, self._buffered_inputs)
        if self.args.should_save:
            self.privileged_critic.save(folder)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        """Load the policy and the critic."""
        if self.is_fsdp_enabled:  # its own checkpoint holds both
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        with self.critic.detached():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.critic.load(resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up the checkpoint's rollout where it was left, and the privileged critic."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        file = self._rollout_file(Path(checkpoint))
        if file.exists():
            self._step, self._buffered_inputs = load_micro_batches(file, self.accelerator.device)
        if note := self.privileged_critic.load(Path(checkpoint)):
            self.notes.append(note)
            if self.accelerator.is_main_process:
                print(note, flush=True)

    def _load_best_model(self) -> None:
        """Load the best checkpoint's policy and critic."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return super()._load_best_model()
        with self.critic.detached():
            super()._load_best_model()
        self.critic.load(str(self.state.best_model_checkpoint))

    def _rollout_file(self, checkpoint: Path) -> Path:
        return checkpoint / f"rollout_{self.accelerator.process_index}.pt"

    # ---- logging

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds since the last log: generating, scoring and updating."""
        if self.meter.current:
            self.meter.add_times()
            if self.num_generations == 1:  # of groups of one answer: always 1
                self.meter.current.pop("frac_reward_zero_std", None)
        super().log(logs, start_time)

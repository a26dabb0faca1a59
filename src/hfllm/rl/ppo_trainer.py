"""PPO (Schulman et al. 2017; for language models Ouyang et al. 2022) on TRL's GRPOTrainer.

A rollout: GRPO generates, computes the reference's log-probabilities and the rewards -> old
log-probabilities and the critic's values -> token rewards -> GAE -> advantages (B, T), values and
returns are added to TRL's batch (rollout.py). An update: GRPO's clipped policy loss on the (B, T)
advantages, plus a clipped value loss, in one backward. On two CPU cores and 5.8M parameters an
update takes a bit over half of the time, generation a third.

Why on GRPOTrainer: it has chat prompts, reward functions, tools, vLLM, PEFT, ZeRO, logging and
resume, and is maintained; TRL has removed its PPOTrainer. Each override calls super(), except for
the forward pass over unpadded rows (logprobs.py), and tests/rl/test_pins.py pins it to the
installed TRL. What PPO adds are attributes of the trainer: `critic`, a submodule of the policy
(critic.py); `privileged_critic`; `rollout_policy`, which samples; `meter`, which logs.
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
from hfllm.rl import guards, rollout_files
from hfllm.rl.advantages import (
    explained_variance,
    final_score,
    gae,
    has_ended,
    token_rewards,
    value_errors,
    whiten,
)
from hfllm.rl.checked_reward import all_checked, check_scores, raise_together, together
from hfllm.rl.critic import Critic, build_critic, split_state
from hfllm.rl.critic_warmup import CriticWarmup
from hfllm.rl.first_rollouts import FirstRollouts
from hfllm.rl.logprobs import (
    ForwardPass,
    critic_values,
    score_unpadded,
)
from hfllm.rl.meters import Meter, StepTimer
from hfllm.rl.ppo_config import MEAN_OVER_ROWS, PPOConfig
from hfllm.rl.prompt_sampler import ResumableSampler
from hfllm.rl.rollout import Batch, Rollout
from hfllm.rl.rollout_prompts import render_prompts
from hfllm.rl.scored_answers import ScoredAnswers
from hfllm.rl.set_up import (
    check_models,
    install_fast_head,
    make_privileged_critic,
    make_rollout_policy,
    sorted_rows,
)
from hfllm.rl.value_head import build_value_head


class PPOTrainer(GRPOTrainer):
    """GRPOTrainer with a critic.

    Args:
        model: the policy, a causal LM loaded from a folder, or that folder.
        reward_funcs: callables (rewards.py) or reward models, one or a list.
        args: settings.
        critic: the folder that the critic starts from (a reward model, or a language model), or
            the model; None with `shared_critic`.
        **kwargs: of GRPOTrainer: train_dataset (column `prompt`: messages; reward functions get the
            other columns), eval_dataset, processing_class, callbacks, peft_config, tools.

    Raises:
        ValueError: a check of guards.py fails, or the critic does not match `shared_critic`.
    """

    _tag_names = ["trl", "ppo"]
    _name = "PPO"
    _paper = {"title": "Proximal Policy Optimization Algorithms", "id": "1707.06347"}

    args: PPOConfig
    model: PreTrainedModel

    # Results that TRL's methods, which call two of our overrides, do not return:
    _passes: list[ForwardPass]  # in a rollout the policy's pass, then the reference's
    _rewards: torch.Tensor  # (B, F): of this process, by function (NaN for None)
    _errors: list[Exception]  # of the reward functions of this process

    # ---- set-up

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any,
        args: PPOConfig,
        critic: str | Path | PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the arguments, build the policy and the critic, and add the critic to it."""
        guards.check_rollout_fits(args, kwargs.get("train_dataset"))
        guards.check_policy_folder(model, args, kwargs.get("peft_config"))
        if args.shared_critic == (critic is not None):
            raise ValueError("give a critic, or set shared_critic; one of the two")
        if critic is not None and not isinstance(critic, PreTrainedModel):
            critic = build_critic(critic)
        self._errors = []
        functions = all_checked(reward_funcs, self._errors)
        super().__init__(model=model, reward_funcs=functions, args=args, **kwargs)
        check_models(self)
        self._passes = []
        self.notes: list[str] = []  # for the manifest: settings without effect, slower paths
        self.meter = Meter(self._metrics, self._mode, self._sum)
        self.scored_answers = ScoredAnswers(self.meter, self._sum, self._say)
        self.first_rollouts = FirstRollouts(self.accelerator.gather, self._say)
        self.critic = self._add_critic(build_value_head(self.model) if critic is None else critic)
        self.critic_warmup = CriticWarmup(args, self.critic, self.is_deepspeed_enabled)
        for callback in (self.scored_answers, self.critic_warmup, StepTimer(self.meter)):
            self.add_callback(callback)
        self._unpads = is_on("unpad")  # off: rows are run as TRL pads them
        if not self._unpads:
            guards.check_padded_rows(self.model)  # policy and critic
        if self.accelerator.device.type == "cpu":  # on a GPU TRL's kernels are as fast
            install_fast_head(self, self._is_sharded)
        self.privileged_critic = make_privileged_critic(self, self._sum)
        self.rollout_policy = make_rollout_policy(self, self._is_sharded)

    def _add_critic(self, critic: PreTrainedModel) -> Critic:
        if self.args.disable_dropout:
            disable_dropout_in_model(critic)
        policy = self.accelerator.unwrap_model(self.model)
        return Critic(policy, critic.to(self.accelerator.device))

    @property
    def _is_sharded(self) -> bool:
        """Whether a process holds only a part of each weight (ZeRO-3, FSDP)."""
        return bool(self._dist.is_zero3 or self.is_fsdp_enabled)

    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of `x` over processes."""
        return self.accelerator.reduce(x, reduction="sum")

    # ---- generation

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        """TRL's order of prompts, the same in a resumed run."""
        return ResumableSampler(super()._get_train_sampler(dataset), self)

    def _tokenize_prompts(self, prompts: list) -> Any:
        """Render chat prompts as in SFT: control tokens spelled in a prompt are encoded as text."""
        rendered = None if self.tools else render_prompts(self, prompts)
        return super()._tokenize_prompts(prompts) if rendered is None else (rendered, None, {})

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        """Sample from the rollout policy; remove the critic for vLLM's weight sync."""
        policy, copy = self.accelerator.unwrap_model(self.model), self.rollout_policy
        with (
            self.meter.timed("generate"),
            self.critic.detached() if self.use_vllm else nullcontext(),
            copy.sampling_for(self, policy) if copy else nullcontext(),
        ):
            answers = super()._generate_single_turn(*args, **kwargs)
        self.critic.forget_states()
        return answers

    # ---- rollout

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        """GRPO's rollout with values, returns and token advantages (B, T)."""
        self._passes.clear()
        with self.meter.timed("rollout"):
            batch = super()._generate_and_score_completions(inputs)
            rollout = Rollout.from_batch(batch)
            own_values = self._old_logps_and_values(rollout)
            answers, width = rollout.answers(), own_values.size(1)
            with together(self.accelerator.num_processes if self.privileged_critic.sources else 1):
                features = self.privileged_critic.observe(inputs, answers, width)  # (B, T, K)
            features = features.to(own_values.device)
            predicted = self.privileged_critic.predict(features)  # (B, T)
            rollout.privileged_values = predicted * rollout.completion_mask
            rollout.values = own_values + rollout.privileged_values
            # An answer that no reward function scored trains neither policy nor critic, and does
            # not count where the loss is divided.
            scored = ~self._rewards.isnan().all(dim=1)  # (B,)
            rollout.scored_share = self.scored_answers.count(scored, self.model.training)
            rollout.value_mask = rollout.written * scored[:, None]
            trained = self._sum(rollout.value_mask.sum())
            rollout.num_items_in_batch = trained.to(rollout.num_items_in_batch.dtype)
            self._add_advantages(rollout, self._token_rewards(rollout, scored))
            if self.model.training:
                # Returns minus the values of the critic's model.
                residual = rollout.returns - (rollout.values - rollout.privileged_values)
                self.privileged_critic.update(features, residual, rollout.value_mask)
        values, mask = rollout.values, rollout.value_mask
        self.meter.note("value/mean", values[mask > 0])
        explained = explained_variance(values, rollout.returns, mask, self._sum)
        self.meter.note("value/explained_variance", explained)
        return rollout.to_batch(batch)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """GRPO's micro-batches, the rows of each optimizer step sorted by length."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        return sorted_rows(self, inputs, before)

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
        """GRPO's results, (B, T) each, from unpadded rows; with a shared critic also values."""
        rows = (input_ids, attention_mask, logits_to_keep)
        images = any(x is not None for key, x in others.items() if key != "compute_aux_loss")
        if images or not self._unpads:  # images are aligned with the padded rows
            size = None if self.critic.is_head else batch_size  # the hook keeps one chunk's states
            self.critic.forget_states()
            logps, entropies, aux = super()._get_per_token_logps_and_entropies(
                model, *rows, size, compute_entropy, **others
            )
            values = self.critic.values_of_pass()
            values = None if values is None else values[:, -logits_to_keep:]
            found = ForwardPass(logps, entropies, aux, values)
        else:
            aux_loss = others.get("compute_aux_loss", False)
            autocast = self.accelerator.autocast
            found = score_unpadded(model, rows, batch_size, self.critic, autocast, aux_loss)
        self._passes.append(found)
        return found.logps, found.entropies, found.aux_loss

    def _old_logps_and_values(self, rollout: Rollout) -> torch.Tensor:
        """Add old log-probabilities if GRPO has not; return the critic's values (B, T)."""
        args, training = self.args, self.model.training
        size = args.per_device_train_batch_size if training else args.per_device_eval_batch_size
        checkpointing: Any = args.gradient_checkpointing_kwargs
        with disable_gradient_checkpointing(self.model, checkpointing):
            own = 0  # GRPO's passes of a rollout: the old policy's, then the reference's
            if not hasattr(rollout, "old_per_token_logps"):  # each rollout is used once
                own = len(self._passes)
                rollout.old_per_token_logps, _, _ = self._get_per_token_logps_and_entropies(
                    self.model, *rollout.rows, batch_size=size
                )
            values = self._critic_values(self._passes[own], rollout, 2 * size)
        self._passes.clear()
        return values * rollout.completion_mask

    def _critic_values(self, policy_pass: ForwardPass, rollout: Rollout, size: int) -> torch.Tensor:
        """The critic's values (B, T): of the policy's pass, or of its own with `size` rows each."""
        if policy_pass.values is not None:
            return policy_pass.values
        with self.accelerator.autocast():
            return critic_values(self.critic.model, rollout.rows, size, self._unpads)

    # ---- scores and advantages

    def _calculate_rewards(self, inputs: Any, prompts: Any, *args: Any) -> torch.Tensor:
        """Store this process's rewards: GRPO's output has only group-normalised advantages."""
        per_function = super()._calculate_rewards(inputs, prompts, *args)  # (B x processes, F)
        raise_together(self._errors, self.accelerator.num_processes)
        check_scores(per_function, self.reward_funcs, self.reward_func_names)
        start = self.accelerator.process_index * len(prompts)
        self._rewards = per_function[start : start + len(prompts)]
        return per_function

    def _token_rewards(self, rollout: Rollout, scored: torch.Tensor) -> torch.Tensor:
        """Rewards (B, T): the score at the last token and, with `kl_in_reward`, the KL at each."""
        args, mask, kl = self.args, rollout.value_mask, None
        if rollout.ref_per_token_logps is not None:
            kl = (rollout.old_per_token_logps - rollout.ref_per_token_logps) * mask
        ended = has_ended(rollout.completion_ids, rollout.written, self.eos_token_ids)
        score = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(dim=1)
        score = final_score(score, ended, args.reward_clip, args.missing_eos_penalty)  # (B,)
        rewards = token_rewards(score, mask, kl if args.kl_in_reward else None, beta=self.beta)
        self.meter.note("completions/ended", ended)
        self.first_rollouts.see(score.where(scored, torch.nan), ended, args, self.model.training)
        self.meter.note("objective/score", score[scored])
        if kl is not None:
            self.meter.note("objective/kl", kl.sum(dim=1)[scored])
            self.meter.note("objective/reward", (score - self.beta * kl.sum(dim=1))[scored])
        return whiten(rewards, mask, self._sum, shift=False) if args.whiten_rewards else rewards

    def _add_advantages(self, rollout: Rollout, rewards: torch.Tensor) -> None:
        """Set advantages and returns: GAE of token rewards (B, T), whitened over the rollout."""
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
            self.beta = 0.0  # the KL is part of the rewards
        try:
            # TRL multiplies its mask by that of tools: so it leaves out what was not scored.
            mask = rollout.value_mask.to(rollout.completion_mask.dtype)
            loss = super()._compute_loss(model, {**inputs, "tool_mask": mask})
        finally:
            self.beta = beta
        if self.args.loss_type in MEAN_OVER_ROWS:
            loss = loss / rollout.scored_share.clamp(min=1e-9)
        new = self._passes.pop()  # the pass of this loss
        log_ratio = new.logps.detach() - rollout.old_per_token_logps
        trained = rollout.value_mask > 0
        self.meter.note("policy/approx_kl", (log_ratio.exp() - 1 - log_ratio)[trained])
        if self.model.training and self.critic_warmup.is_on(self.state.global_step):
            loss = loss * 0.0
        values = self._critic_values(new, rollout, len(rollout.values)) + rollout.privileged_values
        return loss + self.args.vf_coef * self._value_loss(values, rollout)

    def _value_loss(self, values: torch.Tensor, rollout: Rollout) -> torch.Tensor:
        """`value_errors` of new values (B, T), per trained token of the rollout."""
        mask = rollout.value_mask
        clip = self.args.cliprange_value
        errors, clipped = value_errors(values, rollout.values, rollout.returns, clip)
        self.meter.note("value/loss", errors[mask > 0])
        self.meter.note("value/clip_ratio", clipped[mask > 0])
        # As in GRPO's "dapo" loss, every token of the rollout has the same weight, on any process
        # and in any micro-batch.
        tokens = rollout.num_items_in_batch.clamp(min=1) / self.accelerator.num_processes
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps
            tokens = tokens / self.args.steps_per_generation
        return (errors * mask).sum() / tokens

    # ---- optimizer

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Put the critic's parameters into groups with `critic_learning_rate`."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            rate = self.args.critic_learning_rate
            self.critic.split_groups(optimizer, self.args.learning_rate if rate is None else rate)
        return optimizer

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        """Clip separately: under a common norm, large value gradients shrink policy steps."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return super()._clip_grad_norm(model)  # these engines clip a single norm
        policy, critic = self.critic.split_parameters(model)
        norm = self.accelerator.clip_grad_norm_(policy, self.args.max_grad_norm)
        own = torch.nn.utils.clip_grad_norm_(critic, self.args.max_grad_norm)
        self._metrics["train"]["value/grad_norm"].append(own.item())
        return norm

    # ---- checkpoint: an ordinary policy, critic/ in its folder, and a rollout that is still in
    # use, so that a run resumes exactly from any step (GRPOTrainer would generate again)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Save the policy without the critic, and the critic in the subfolder `critic/`."""
        folder = str(self.args.output_dir if output_dir is None else output_dir)
        state_dict, critic_state = split_state(state_dict)  # gathered by DeepSpeed or FSDP
        with self.critic.detached():
            super()._save(folder, state_dict)
        if self.args.should_save:
            self.critic.save(folder, critic_state)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save the rollout that is still in use, and the privileged critic."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        rollout_files.save_in_use(self, folder)
        if self.args.should_save:
            self.privileged_critic.save(folder)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        """Load the policy and the critic."""
        if self.is_fsdp_enabled:  # its checkpoint has both
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        with self.critic.detached():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.critic.load(resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Also load the checkpoint's rollout and the privileged critic."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        rollout_files.resume(self, Path(checkpoint), self._say)
        self.scored_answers.load(Path(checkpoint))
        if note := self.privileged_critic.load(Path(checkpoint)):
            self._say(note)

    def _say(self, note: str) -> None:
        """Add a note to the manifest's, and print it once."""
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

    # ---- logging

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds since the last log: generating, scoring and updating."""
        if self.meter.current:
            self.meter.add_times()
            if self.num_generations == 1:  # always 1 with groups of one answer
                self.meter.current.pop("frac_reward_zero_std", None)
        super().log(logs, start_time)

"""One trainer, two models: GRPOTrainer with a critic inside the policy.

The critic joins the policy's optimizer with a learning rate of its own, is clipped by its own
gradient norm, and is written to and read from `critic/` beside the policy. A checkpoint inside a
rollout holds the rollout too, and each epoch's order of prompts is found again, so that a run
resumes exactly from any step (GRPOTrainer would generate anew, in the first epoch's order). What
the critic learns is ppo.py's business.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer
from trl.models import prepare_deepspeed
from trl.trainer.utils import RepeatSampler, disable_dropout_in_model

from hfllm.rl import guards
from hfllm.rl.config import PPOConfig
from hfllm.rl.critic import (
    FOLDER,
    ValueHead,
    ValueHeadConfig,
    build_critic,
    load_critic,
    split_state,
    without_critic,
)
from hfllm.rl.meters import MeteredTrainer
from hfllm.rl.rewards import RewardModelScorer


class SamplerByEpoch(RepeatSampler):
    """`plain` with each epoch's own order in a resumed run too, which begins anew by itself.

    Not by set_epoch: under several processes it does not reach the sampler in a resumed epoch.
    """

    def __init__(self, plain: Any, trainer: Trainer) -> None:
        """Take over what TRL's `plain` has; the trainer's state knows which epoch begins."""
        self.__dict__ |= vars(plain)
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        """Indices of prompts, in the order of the epoch that begins."""
        if self.shuffle and self.seed is not None:
            self.generator.manual_seed(self.seed)
            for _ in range(int(self.trainer.state.epoch or 0)):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()


class CriticTrainer(MeteredTrainer):
    """GRPOTrainer whose policy carries a critic; see `ppo.PPOTrainer` for the arguments."""

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any,
        args: PPOConfig,
        critic: str | Path | PreTrainedModel | None,
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
        for function in self.reward_funcs:
            if isinstance(function, RewardModelScorer):  # TRL does this for bare modules only
                function.model = (
                    prepare_deepspeed(function.model, self.accelerator)
                    if self.is_deepspeed_enabled
                    else function.model.to(self.accelerator.device)
                )
        if critic is None:
            hidden = self.model.config.get_text_config().hidden_size
            critic = ValueHead(ValueHeadConfig(hidden_size=hidden))
        if args.disable_dropout:
            disable_dropout_in_model(critic)
        self.model.add_module(FOLDER, critic.to(self.accelerator.device))

    def _critic_of(self, model: torch.nn.Module | None = None) -> PreTrainedModel:
        return self.accelerator.unwrap_model(model or self.model).get_submodule(FOLDER)

    def _is_sharded(self) -> bool:
        """Whether a process holds a part of each weight only."""
        return bool(self._dist.is_zero3 or self.is_fsdp_enabled)

    # ---- optimizer

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Give the critic's parameters groups of their own: same settings, own learning rate."""
        if self.optimizer is not None:
            return super().create_optimizer(model)
        optimizer = super().create_optimizer(model)
        lr = self.args.critic_learning_rate
        lr = self.args.learning_rate if lr is None else lr
        critic = {id(p) for p in self._critic_of(model).parameters()}
        for group in list(optimizer.param_groups):
            parameters = group["params"]
            group["params"] = [p for p in parameters if id(p) not in critic]
            mine = [p for p in parameters if id(p) in critic]
            if mine:
                optimizer.add_param_group({**group, "params": mine, "lr": lr})
        return optimizer

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        """Clip the two apart: under a shared norm, large value gradients shrink policy steps."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return super()._clip_grad_norm(model)  # their engines know one norm only
        critic = self._critic_of(model)
        mine = {id(p) for p in critic.parameters()}
        policy = [p for p in model.parameters() if id(p) not in mine]
        norm = self.accelerator.clip_grad_norm_(policy, self.args.max_grad_norm)
        own = torch.nn.utils.clip_grad_norm_(critic.parameters(), self.args.max_grad_norm)
        self._metrics["train"]["value/grad_norm"].append(own.item())
        return norm

    # ---- checkpoints

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        """TRL's order of prompts, which a resumed run finds again in any epoch."""
        return SamplerByEpoch(super()._get_train_sampler(dataset), self)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Save an ordinary policy, and the critic in `critic/` beside it."""
        folder = str(self.args.output_dir if output_dir is None else output_dir)
        own_state = None
        if state_dict is not None:  # gathered by DeepSpeed or FSDP
            state_dict, own_state = split_state(state_dict)
        with without_critic(self.accelerator.unwrap_model(self.model)) as critic:
            super()._save(folder, state_dict)
            if self.args.should_save and own_state != {}:
                critic.save_pretrained(Path(folder) / FOLDER, state_dict=own_state)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        """Load the policy and the critic."""
        if self.is_fsdp_enabled:  # its own checkpoint holds both
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        with without_critic(self.accelerator.unwrap_model(model or self.model)) as critic:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            load_critic(critic, resume_from_checkpoint)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Keep the rollout that is still in use (tensors of a few hundred kB)."""
        super()._save_checkpoint(model, trial)
        path = self._rollout_file(self._checkpoint_folder(trial))
        used = self._step % ((self.args.steps_per_generation or 1) * self.num_iterations)
        if used and self._buffered_inputs is not None:
            torch.save({"used": used, "micro_batches": self._buffered_inputs}, path)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up the checkpoint's rollout where it was left."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not self._rollout_file(checkpoint).exists():
            return
        device = self.accelerator.device
        saved = torch.load(self._rollout_file(checkpoint), map_location=device, weights_only=True)
        self._step, self._buffered_inputs = saved["used"], saved["micro_batches"]

    def _checkpoint_folder(self, trial: Any) -> Path:
        return Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"

    def _rollout_file(self, checkpoint: str | Path) -> Path:
        return Path(checkpoint) / f"rollout_{self.accelerator.process_index}.pt"

    def _load_best_model(self) -> None:
        """Load the best checkpoint's policy and critic."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return super()._load_best_model()
        with without_critic(self.accelerator.unwrap_model(self.model)) as critic:
            super()._load_best_model()
            load_critic(critic, str(self.state.best_model_checkpoint))

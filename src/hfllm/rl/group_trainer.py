"""GRPO and RLOO on TRL's trainers of these names: several answers a prompt, compared in a group.

GRPO (Shao et al. 2024, arXiv:2402.03300): an answer's advantage is its reward minus the mean of its
group, divided by the group's standard deviation. RLOO (Ahmadian et al. 2024, arXiv:2402.14740): its
reward minus the mean of the others in its group. Both losses, and GRPO's variants, are TRL's.

Here the rollout is made as in PPO, from the same parts: prompts rendered as in SFT, one-line errors
of reward functions on all processes together, rows without padding (right for models with a table
of positions too, which TRL's left padding shifts), a low-precision copy that samples, and rollouts
in checkpoints, so that a resumed run is the straight one. Each override calls super(), but for the
forward pass over unpadded rows; tests/rl/test_group_pins.py pins them to the installed TRL.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import trl
from transformers import PreTrainedModel
from trl.trainer.utils import RepeatSampler

from hfllm.fast_cpu import is_on
from hfllm.rl import guards, rollout_files
from hfllm.rl.checked_reward import all_checked, check_scores, raise_together
from hfllm.rl.first_rollouts import FirstRollouts
from hfllm.rl.group_rewards import EqualGroups, add_missing_end
from hfllm.rl.group_size import check_groups
from hfllm.rl.logprobs import score_unpadded
from hfllm.rl.meters import Meter, StepTimer
from hfllm.rl.prompt_sampler import ResumableSampler
from hfllm.rl.rollout_prompts import render_prompts
from hfllm.rl.scored_answers import ScoredAnswers
from hfllm.rl.set_up import check_models, install_fast_head, make_rollout_policy, sorted_rows

_Trainer: Any = trl.GRPOTrainer if TYPE_CHECKING else object


class GroupTrainer(_Trainer):
    """What GRPO and RLOO have here besides TRL's trainer, which stands behind it in the class.

    Args:
        model: the policy, a causal LM loaded from a folder.
        reward_funcs: callables (rewards.py) or reward models, one or a list.
        args: settings (group_config.py).
        **kwargs: of TRL's trainer: train_dataset (column `prompt`: messages; reward functions get
            the other columns), processing_class, callbacks, peft_config.

    Raises:
        ValueError: a check of guards.py fails, or groups do not fill a rollout.
    """

    _rewards: torch.Tensor  # (B, F): of this process, by function (NaN for None)
    _errors: list[Exception]  # of the reward functions of this process

    def __init__(
        self, model: str | PreTrainedModel, reward_funcs: Any, args: Any, **kwargs: Any
    ) -> None:
        """Check the arguments, build TRL's trainer, and the parts of the rollout."""
        check_groups(args)
        guards.check_rollout_fits(args, kwargs.get("train_dataset"))
        guards.check_policy_folder(model, args, kwargs.get("peft_config"))
        self._errors = []
        functions = all_checked(reward_funcs, self._errors)
        missing_end = add_missing_end(functions, args)
        super().__init__(model=model, reward_funcs=functions, args=args, **kwargs)
        check_models(self)
        self.missing_end = missing_end
        if missing_end is not None:
            missing_end.ends = self.eos_token_ids
        self.notes: list[str] = []  # for the manifest: settings without effect, slower paths
        self.meter = Meter(self._metrics, self._mode, self._sum)
        self.scored_answers = ScoredAnswers(self.meter, self._sum, self._say)
        self.first_rollouts = FirstRollouts(self.accelerator.gather, self._say)
        self.equal_groups = EqualGroups(self._say)
        for callback in (self.scored_answers, self.equal_groups, StepTimer(self.meter)):
            self.add_callback(callback)
        self._unpads = is_on("unpad")  # off: rows are run as TRL pads them
        if not self._unpads:
            guards.check_padded_rows(self.model)
        is_sharded = bool(self._dist.is_zero3 or self.is_fsdp_enabled)
        if self.accelerator.device.type == "cpu":  # on a GPU TRL's kernels are as fast
            install_fast_head(self, is_sharded)
        self.rollout_policy = make_rollout_policy(self, is_sharded)

    @property
    def scores_old_answers(self) -> bool:
        """Whether a rollout is scored by the policy before the update, which TRL may leave out."""
        args = self.args
        used = (args.steps_per_generation or 1) * self.num_iterations
        is_rloo = isinstance(self, trl.RLOOTrainer)
        return is_rloo or args.gradient_accumulation_steps % used != 0

    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of `x` over processes."""
        return self.accelerator.reduce(x, reduction="sum")

    def _say(self, note: str) -> None:
        """Add a note to the manifest's, and print it once."""
        self.notes.append(note)
        if self.accelerator.is_main_process:
            print(note, flush=True)

    # ---- rollout

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        """TRL's order of prompts, the same in a resumed run."""
        return ResumableSampler(super()._get_train_sampler(dataset), self)

    def _tokenize_prompts(self, prompts: list) -> Any:
        """Render chat prompts as in SFT: control tokens spelled in a prompt are encoded as text."""
        rendered = render_prompts(self, prompts)
        return super()._tokenize_prompts(prompts) if rendered is None else (rendered, None, {})

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        """Sample from the rollout policy."""
        policy, copy = self.accelerator.unwrap_model(self.model), self.rollout_policy
        with (
            self.meter.timed("generate"),
            copy.sampling_for(self, policy) if copy else nullcontext(),
        ):
            return super()._generate_single_turn(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's rollout; count what was not scored."""
        with self.meter.timed("rollout"):
            batch = super()._generate_and_score_completions(inputs)
        self.scored_answers.count(~self._rewards.isnan().all(dim=1), self.model.training)
        return batch

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        """TRL's rewards (B x processes, F); an error on one process is raised on all of them."""
        given = (inputs, prompts, completions, completion_ids_list)
        per_function = super()._calculate_rewards(*given)
        raise_together(self._errors, self.accelerator.num_processes)
        check_scores(per_function, self.reward_funcs, self.reward_func_names)
        if self.missing_end is not None:  # it alone does not make a row a scored one
            per_function[per_function[:, :-1].isnan().all(dim=1), -1] = torch.nan
        total = (per_function * self.reward_weights.to(per_function.device)).nansum(dim=1)
        total[per_function.isnan().all(dim=1)] = torch.nan  # (B x processes,)
        start = self.accelerator.process_index * len(prompts)
        here = slice(start, start + len(prompts))
        self._rewards = per_function[here]
        ended = total.new_tensor([ids[-1] in self.eos_token_ids for ids in completion_ids_list])
        self.first_rollouts.see(total[here], ended, self.args, self.model.training)
        if self.model.training:
            self.equal_groups.count(total.view(-1, self.num_generations))
        return per_function

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """TRL's micro-batches, the rows of each optimizer step sorted by length."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        return sorted_rows(self, inputs, before)

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
        """TRL's results, (B, T) each, from unpadded rows."""
        rows = (input_ids, attention_mask, logits_to_keep)
        images = any(x is not None for key, x in others.items() if key != "compute_aux_loss")
        if images or not self._unpads:  # images are aligned with the padded rows
            return super()._get_per_token_logps_and_entropies(
                model, *rows, batch_size, compute_entropy, **others
            )
        aux_loss = others.get("compute_aux_loss", False)
        found = score_unpadded(model, rows, batch_size, None, self.accelerator.autocast, aux_loss)
        return found.logps, found.entropies, found.aux_loss

    # ---- checkpoint

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save the rollout that is still in use."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        rollout_files.save_in_use(self, folder)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Also load the checkpoint's rollout and counts."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        rollout_files.resume(self, Path(checkpoint), self._say)
        self.scored_answers.load(Path(checkpoint))
        self.equal_groups.load(Path(checkpoint))

    # ---- logging

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds since the last log: generating, scoring and updating."""
        if self.meter.current:
            self.meter.add_times()
        super().log(logs, start_time)


class GRPOTrainer(GroupTrainer, trl.GRPOTrainer):
    """TRL's GRPOTrainer with the rollout of `GroupTrainer`."""


class RLOOTrainer(GroupTrainer, trl.RLOOTrainer):
    """TRL's RLOOTrainer with the rollout of `GroupTrainer`."""

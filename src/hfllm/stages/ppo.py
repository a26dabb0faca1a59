"""PPO: hfllm.rl's PPOTrainer (on trl's GRPOTrainer) with a reward model and/or reward functions.

Schulman et al. 2017, arXiv:1707.06347. The critic starts from the reward model, as in InstructGPT
(Ouyang et al. 2022, arXiv:2203.02155), which predicts the score of an answer; without one from the
policy; with `trainer.shared_critic` it is a linear head on the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import LANGUAGE_MODEL, RowShape, Stage
from hfllm.recipe.training import ENTROPY, TRAINER_CHARTS, TRAINER_UNCHARTED
from hfllm.rl.charts import PPO_CHARTS, PPO_UNCHARTED
from hfllm.rl.ppo_keys import RANGES
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process
from hfllm.stages import _rollouts
from hfllm.stages._rollouts import RolloutConfig

if TYPE_CHECKING:
    from hfllm.rl.ppo_trainer import PPOTrainer
    from hfllm.training.fit import TrainingInfo


@dataclass
class Config(RolloutConfig):
    """Reinforcement learning with PPO on a reward model and/or reward functions."""


def row(spec: StepSpec) -> RowShape | None:
    """A prompt and its answer with logits, in policy and critic; None if its length is refused."""
    shared = spec.config.trainer.get("shared_critic")
    return _rollouts.row_shape(spec, copies=1 if shared else 2)


STAGE = Stage(
    config=Config,
    trainer="hfllm.rl.ppo_config:PPOConfig",
    makes=LANGUAGE_MODEL,
    method="PPO (Schulman et al. 2017, arXiv:1707.06347) with a critic and a KL in the reward "
    "(Ouyang et al. 2022, arXiv:2203.02155), on trl's GRPOTrainer.",
    defaults=_rollouts.DEFAULTS,
    set_elsewhere={"informed_critic": "it is called privileged_critic now", **_rollouts.ELSEWHERE},
    ranges=RANGES,
    check=_rollouts.check,
    first_rows=_rollouts.first_rows,
    row=row,
    rates=_rollouts.RATES,
    console=_rollouts.console("objective/kl", "completions/mean_length", "completions/ended"),
    charts=(*PPO_CHARTS, ENTROPY, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, *PPO_UNCHARTED),
    key_figure=_rollouts.key_figure,
    sentence=_rollouts.sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[PPOTrainer, TrainingInfo]:
    """Build the PPOTrainer: policy, reward functions, prompts, critic."""
    from hfllm.modeling.flops import matmul_parameters, ppo_flops_per_token
    from hfllm.rl.ppo_trainer import PPOTrainer
    from hfllm.training.fit import TrainingInfo

    made = _rollouts.prepare(config, step, manifest)
    args = made.args
    critic = None
    if not args.shared_critic:
        critic = _critic(config, step, made.tokenizer, made.scorer, manifest)
    trainer = PPOTrainer(
        model=made.policy,
        reward_funcs=made.rewards,
        args=args,
        critic=critic,
        train_dataset=made.prompts,
        processing_class=made.tokenizer,
        peft_config=made.adapter,
    )
    manifest.notes += trainer.notes
    trainer.notes = manifest.notes  # one list, so that notes made while training are recorded too
    own = matmul_parameters(trainer.model.get_submodule("critic"))
    flops = ppo_flops_per_token(made.policy_size, own, made.judge_size, epochs=args.num_iterations)
    info = TrainingInfo(
        tokenizer=made.tokenizer,
        end_ids=made.ends,
        flops_per_token=flops,
        passes=made.passes(),
        extra={"prompts": len(made.prompts)},
    )
    return trainer, info


def _critic(config: Config, step: Step, tokenizer: Any, scorer: Any, manifest: Manifest) -> str:
    """The folder of the model that the critic starts from.

    The reward model if its tokenizer has every token of the policy under the same id, else `init`.
    """
    from hfllm.training.load import model_folder

    vocab = scorer.tokenizer.get_vocab() if scorer else {}
    if scorer and any(vocab.get(token) != i for token, i in tokenizer.get_vocab().items()):
        note = "the reward model has another vocabulary: the critic starts from `init` instead"
        manifest.notes.append(note)
        if is_main_process():
            print(f"{step.name}: {note}", flush=True)
        return model_folder(step, config.init or "")
    return model_folder(step, config.reward or config.init or "")

"""GRPO: trl's GRPOTrainer; several answers a prompt, each compared with its group.

Shao et al. 2024, arXiv:2402.03300. No critic: an answer's advantage is its reward minus the mean of
the answers to the same prompt, divided by their standard deviation. TRL's variants by their keys:
`loss_type` (dapo, dr_grpo, bnpo, ...), `scale_rewards`, `importance_sampling_level`, `beta`. The
keys beside `trainer` are PPO's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfllm.recipe.stage import LANGUAGE_MODEL, Stage
from hfllm.recipe.training import ENTROPY, TRAINER_CHARTS, TRAINER_UNCHARTED
from hfllm.rl.charts import GROUP_UNCHARTED, GRPO_CHARTS
from hfllm.rl.group_keys import GRPO_RANGES
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.stages import _groups, _rollouts
from hfllm.stages._rollouts import RolloutConfig

if TYPE_CHECKING:
    from hfllm.rl.group_trainer import GRPOTrainer
    from hfllm.training.fit import TrainingInfo


@dataclass
class Config(RolloutConfig):
    """Reinforcement learning with GRPO on reward functions and/or a reward model."""


STAGE = Stage(
    config=Config,
    trainer="hfllm.rl.group_config:GRPOConfig",
    makes=LANGUAGE_MODEL,
    method="GRPO (Shao et al. 2024, arXiv:2402.03300) with the loss of DAPO (Yu et al. 2025, "
    "arXiv:2503.14476) unless the recipe sets another, on trl's GRPOTrainer.",
    defaults=_rollouts.DEFAULTS
    | {
        "num_generations": (
            8,
            "answers to a prompt, trl's default: 4 prompts a step of 32",
        ),
        "beta": (0.0, "trl's default: no KL, and so no reference model"),
    },
    set_elsewhere=_groups.ELSEWHERE,
    ranges=GRPO_RANGES,
    check=_groups.check,
    first_rows=_rollouts.first_rows,
    row=_groups.row,
    rates=_rollouts.RATES,
    console=_rollouts.console("kl", "completions/mean_length", "completions/clipped_ratio"),
    charts=(*GRPO_CHARTS, ENTROPY, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, *GROUP_UNCHARTED),
    key_figure=_rollouts.key_figure,
    sentence=_rollouts.sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[GRPOTrainer, TrainingInfo]:
    """Build the GRPOTrainer: policy, reward functions, prompts."""
    from hfllm.rl.group_trainer import GRPOTrainer

    made = _rollouts.prepare(config, step, manifest)
    return _groups.build(made, GRPOTrainer, manifest)

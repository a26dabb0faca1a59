"""RLOO: trl's RLOOTrainer; several answers a prompt, each compared with the mean of the others.

Ahmadian et al. 2024, arXiv:2402.14740. REINFORCE on whole answers: an answer's advantage is its
reward, less `beta` times its KL to the reference, minus the mean reward of the other answers to its
prompt. The keys beside `trainer` are PPO's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfllm.recipe.stage import LANGUAGE_MODEL, Stage
from hfllm.recipe.training import ENTROPY, TRAINER_CHARTS, TRAINER_UNCHARTED
from hfllm.rl.charts import GROUP_UNCHARTED, RLOO_CHARTS
from hfllm.rl.group_keys import RLOO_RANGES
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.stages import _groups, _rollouts
from hfllm.stages._rollouts import RolloutConfig

if TYPE_CHECKING:
    from hfllm.rl.group_trainer import RLOOTrainer
    from hfllm.training.fit import TrainingInfo


@dataclass
class Config(RolloutConfig):
    """Reinforcement learning with RLOO on reward functions and/or a reward model."""


STAGE = Stage(
    config=Config,
    trainer="hfllm.rl.group_config:RLOOConfig",
    makes=LANGUAGE_MODEL,
    method="RLOO (Ahmadian et al. 2024, arXiv:2402.14740) on trl's RLOOTrainer.",
    defaults=_rollouts.DEFAULTS
    | {
        "num_generations": (4, "answers to a prompt; the paper tries 2 and 4, trl's default is 2"),
        "beta": (0.05, "trl's default: KL to the start model, in the reward"),
    },
    set_elsewhere=_groups.ELSEWHERE,
    ranges=RLOO_RANGES,
    check=_groups.check,
    first_rows=_rollouts.first_rows,
    row=_groups.row,
    rates=_rollouts.RATES,
    console=_rollouts.console("kl", "completions/mean_length", "completions/clipped_ratio"),
    charts=(*RLOO_CHARTS, ENTROPY, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, *GROUP_UNCHARTED),
    key_figure=_rollouts.key_figure,
    sentence=_rollouts.sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[RLOOTrainer, TrainingInfo]:
    """Build the RLOOTrainer: policy, reward functions, prompts."""
    from hfllm.rl.group_trainer import RLOOTrainer

    made = _rollouts.prepare(config, step, manifest)
    return _groups.build(made, RLOOTrainer, manifest)

"""GRPOConfig and RLOOConfig: TRL's, with a penalty for a missing end and a faster sampler.

A field of TRL's keeps its meaning, or is refused with the reason (group_keys.py). Fields below that
TRL has too are there for another default, each with its reason. A rollout is
`per_device_train_batch_size x processes x steps_per_generation` answers, in groups of
`num_generations` to one prompt.
"""

from dataclasses import dataclass, field
from typing import Any

import trl

from hfllm.recipe.ranges import table_problems
from hfllm.rl.group_keys import GRPO_RANGES, RLOO_RANGES, grpo_problems, rloo_problems

SCALES = {"True": "group", "False": "none"}  # a recipe's true and false arrive as texts


def _setting(default: Any, help: str) -> Any:
    """A dataclass field with the help text that transformers' argument parser shows."""
    return field(default=default, metadata={"help": help})


@dataclass
class GroupSettings:
    """Fields that GRPO and RLOO have here besides TRL's."""

    missing_eos_penalty: float | None = _setting(
        1.0,
        "Subtracted from the reward of an answer truncated at the token limit, as in PPO. On by "
        "default: the chat template closes every answer, so a reward model cannot see it. It is "
        "logged as the reward function missing_end. None or 0: off.",
    )
    generate_dtype: str | None = _setting(
        None,
        "'bfloat16': answers are sampled by a bf16 copy of a float32 policy, synchronised before "
        "each rollout (1.3 times as fast on CPUs with bf16); an adapter is merged into the copy. "
        "Ignored if the policy is sharded.",
    )
    disable_dropout: bool = _setting(
        True, "With dropout the policy that is trained is not the one that has sampled."
    )


@dataclass
class GRPOConfig(GroupSettings, trl.GRPOConfig):
    """Settings of `GRPOTrainer`.

    Raises:
        ValueError: for a key that GRPO cannot use as it is set (one line).
    """

    def __post_init__(self) -> None:
        """TRL's checks, then ours."""
        self.scale_rewards = SCALES.get(str(self.scale_rewards), self.scale_rewards)
        finish(self, super().__post_init__, GRPO_RANGES, grpo_problems)


@dataclass
class RLOOConfig(GroupSettings, trl.RLOOConfig):
    """Settings of `RLOOTrainer`.

    Raises:
        ValueError: for a key that RLOO cannot use as it is set (one line).
    """

    num_generations: int | None = _setting(
        4, "Answers per prompt; each is compared with the mean of the others. TRL's default is 2."
    )

    def __post_init__(self) -> None:
        """TRL's checks, then ours."""
        finish(self, super().__post_init__, RLOO_RANGES, rloo_problems)


def finish(config: Any, theirs: Any, ranges: Any, problems: Any) -> None:
    """Run the `__post_init__` of TRL's config, then our checks.

    Whether groups fill a rollout depends on the processes, which the checks before a run are not:
    `group_size` checks it, there and again in the trainer.
    """
    method = type(config).__name__.removesuffix("Config")
    for problem in table_problems(vars(config), ranges):
        raise ValueError(f"{method}: {problem}")
    answers = config.num_generations
    config.num_generations = AnyGroup(answers) if isinstance(answers, int) else AnyGroup(2)
    theirs()
    config.num_generations = answers
    if found := next(problems(config), None):
        raise ValueError(f"{method} cannot use {found}")


class AnyGroup(int):
    """A number of answers that TRL's config takes with every batch."""

    def __rmod__(self, other: int) -> int:
        """0: it divides every number."""
        return 0

    def __lt__(self, other: int) -> bool:
        """Not less than 2: the ranges of group_keys.py say so in one line."""
        return False

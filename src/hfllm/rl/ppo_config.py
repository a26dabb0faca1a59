"""PPOConfig: TRL's GRPOConfig with fields for the critic, and with PPO's defaults.

A rollout is `per_device_train_batch_size x processes x steps_per_generation` episodes. It is used
for `num_iterations` epochs of `steps_per_generation / gradient_accumulation_steps` minibatches.
A field of GRPOConfig (vLLM, tools, sampling, entropy bonus ...) keeps its meaning, or is refused
with the reason (ppo_keys.py). Fields below
that GRPOConfig has too are there for another default, each with its reason.
"""

from dataclasses import dataclass, field

from trl import GRPOConfig

from hfllm.recipe.ranges import table_problems
from hfllm.rl.ppo_keys import RANGES, key_problems
from hfllm.rl.rollout_keys import dtype_problems

# TRL's losses with PPO's clipping per token; its other losses clip whole sequences or not at all.
LOSS_TYPES = ("dapo", "bnpo", "grpo", "dr_grpo")
MEAN_OVER_ROWS = ("grpo", "dr_grpo")  # divided by the number of rows, not of trained tokens


def _setting(default, help: str):
    """A dataclass field with the help text that transformers' argument parser shows."""
    return field(default=default, metadata={"help": help})


@dataclass
class PPOConfig(GRPOConfig):
    """Settings of `PPOTrainer`; works with `OmegaConf.structured` and HfArgumentParser.

    Raises:
        ValueError: for settings of GRPO under which PPO's token advantages would be wrong.
    """

    num_generations: int | None = _setting(
        1, "Answers per prompt. The critic is the baseline, so one is enough (GRPO needs two)."
    )
    num_iterations: int = _setting(2, "PPO epochs over each rollout.")
    loss_type: str = _setting(
        "dapo",
        "How the loss is averaged: over the tokens of the rollout, so that the gradient depends on "
        "neither accumulation nor processes ('bnpo': over the tokens of each micro-batch).",
    )
    beta: float = _setting(
        0.05,
        "KL coefficient; if it is not 0, the reference is loaded from the policy's folder.",
    )
    kl_in_reward: bool = _setting(
        True,
        "True: -beta * (log pi - log ref) is part of each token's reward (InstructGPT). "
        "False: GRPO's k3 estimate is added to the loss.",
    )
    gamma: float = _setting(1.0, "Discount per token.")
    lam: float = _setting(0.95, "GAE's lambda: 1 is Monte Carlo, 0 is one-step TD.")
    whiten_advantages: bool = _setting(
        True, "Advantages of each rollout get mean 0 and variance 1, over all processes."
    )
    vf_coef: float = _setting(0.1, "Weight of the value loss.")
    cliprange_value: float = _setting(
        0.2, "Clip range of a new value around the rollout's value, in the value loss."
    )
    critic_learning_rate: float | None = _setting(
        None, "The critic's own learning rate; None: learning_rate."
    )
    shared_critic: bool = _setting(
        False,
        "A value head on the policy's last hidden states instead of a second model: no pass of its "
        "own, no gradient into the policy. Set critic_learning_rate to about 1e-3 with it.",
    )
    privileged_critic: bool = _setting(
        True,
        "The critic also reads features that reward functions compute from an answer's beginning "
        "(`prefix_features`, privileged_critic.py); without such functions nothing changes.",
    )
    critic_warmup_steps: int = _setting(
        0, "Optimizer steps at the start that train the critic alone."
    )
    missing_eos_penalty: float | None = _setting(
        1.0,
        "Subtracted from the score of an answer truncated at the token limit. On by default: the "
        "chat template closes every answer, so a reward model cannot see it. None or 0: off.",
    )
    reward_clip: float | None = _setting(
        None, "Clip the score to [-x, x], before the penalty for a missing end. None: off."
    )
    whiten_rewards: bool = _setting(
        False, "Divide token rewards by their standard deviation over the rollout."
    )
    generate_dtype: str | None = _setting(
        None,
        "'bfloat16': answers are sampled by a bf16 copy of a float32 policy, synchronised before "
        "each rollout (1.3 times as fast on CPUs with bf16). Old log-probabilities are computed by "
        "the policy; an adapter is merged into the copy. Ignored if the policy is sharded.",
    )
    disable_dropout: bool = _setting(
        True, "With dropout the probability ratio would differ from 1 before any update."
    )
    ddp_find_unused_parameters: bool | None = _setting(
        False, "The critic runs outside the policy's forward, where DDP must not search for it."
    )

    def __post_init__(self) -> None:
        """Run GRPOConfig's checks, except that of at least two answers, then PPO's."""
        for problem in table_problems(vars(self), RANGES):
            raise ValueError(f"PPO: {problem}")
        answers = self.num_generations
        if answers == 1:
            self.num_generations = OneAnswer()
            self.num_generations_eval = self.num_generations_eval or 1
        super().__post_init__()
        self.num_generations = answers
        self._check()

    def _check(self) -> None:
        problems = [*key_problems(self)]
        if self.loss_type not in LOSS_TYPES:
            problems.append(f"loss_type={self.loss_type}; use one of {', '.join(LOSS_TYPES)}")
        problems += dtype_problems(self)
        if problems:
            raise ValueError(f"PPO cannot use {problems[0]}")


class OneAnswer(int):
    """1, which GRPOConfig takes for enough answers per prompt; nothing else depends on two."""

    def __new__(cls) -> "OneAnswer":
        """Always 1."""
        return super().__new__(cls, 1)

    def __lt__(self, other: int) -> bool:
        """Not less than 2."""
        return False

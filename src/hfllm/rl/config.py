"""PPO's settings: TRL's GRPOConfig with the critic's fields and defaults that suit PPO.

A rollout is `per_device_train_batch_size x processes x steps_per_generation` episodes. It is used
for `num_iterations` epochs of `steps_per_generation / gradient_accumulation_steps` minibatches.
Every field of GRPOConfig (vLLM, tools, sampling, entropy bonus ...) keeps its meaning. The fields
below whose names GRPOConfig has too are new defaults, each with its reason.
"""

from dataclasses import dataclass, field

from trl import GRPOConfig

# PPO's clipped objective over tokens; the others clip whole sequences or not at all.
LOSS_TYPES = ("dapo", "bnpo", "grpo", "dr_grpo")


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
        "How tokens are averaged: over the rollout's token count, so that neither accumulation nor "
        "the number of processes changes the gradient ('bnpo': over each micro-batch's own count).",
    )
    beta: float = _setting(
        0.05,
        "KL coefficient; not 0 also loads the reference, from the policy's own folder.",
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
        0.2, "How far a new value may go from the rollout's value before its gain is clipped."
    )
    critic_learning_rate: float | None = _setting(
        None, "The critic's own learning rate; None: learning_rate."
    )
    shared_critic: bool = _setting(
        False,
        "A value head on the policy's own last hidden states instead of a second model: no pass of "
        "its own, and no gradient into the policy. Give it a critic_learning_rate of about 1e-3.",
    )
    privileged_critic: bool = _setting(
        True,
        "The critic is told what reward functions know of the score from an answer's beginning "
        "(their `prefix_features`, privileged_critic.py); without one nothing changes.",
    )
    critic_warmup_steps: int = _setting(
        0, "Optimizer steps at the start that train the critic alone."
    )
    missing_eos_penalty: float | None = _setting(
        1.0,
        "Taken off the score of an answer that the token limit cut. On by default: a reward model "
        "behind a chat template sees every answer closed and cannot tell. None or 0: off.",
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
        "each rollout (1.3 times as fast on CPUs with bf16). Old log-probabilities are still the "
        "policy's own; an adapter is merged into the copy. Ignored where the policy is sharded.",
    )
    disable_dropout: bool = _setting(
        True, "Dropout would make the probability ratio differ from 1 before any update."
    )
    ddp_find_unused_parameters: bool | None = _setting(
        False, "The critic runs beside the policy's forward, so DDP must not search for it there."
    )

    def __post_init__(self) -> None:
        """Let GRPOConfig check everything but the number of answers, then check what is ours."""
        answers = self.num_generations
        if answers == 1:
            # GRPOConfig refuses 1, but neither it nor the trainer divides by it elsewhere: any
            # divisor of the generation batch of at least 2 passes its checks.
            self.num_generations_eval = self.num_generations_eval or 1
            self.num_generations = max(2, self.per_device_train_batch_size)
        super().__post_init__()
        self.num_generations = answers
        self._check()

    def _check(self) -> None:
        problems = (
            (
                self.loss_type not in LOSS_TYPES,
                f"loss_type={self.loss_type}: use one of {', '.join(LOSS_TYPES)}",
            ),
            (
                self.importance_sampling_level != "token",
                "importance_sampling_level: PPO's ratio is per token, use 'token'",
            ),
            (
                self.mask_truncated_completions,
                "mask_truncated_completions: use missing_eos_penalty instead",
            ),
            (
                self.generate_dtype not in (None, "bfloat16", "float16"),
                f"generate_dtype={self.generate_dtype}: use null, 'bfloat16' or 'float16'",
            ),
            (
                self.generate_dtype is not None and self.use_vllm,
                "generate_dtype: vLLM has a dtype of its own, leave it null",
            ),
        )
        for wrong, problem in problems:
            if wrong:
                raise ValueError(f"PPO cannot use {problem}")

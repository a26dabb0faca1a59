"""Chart declarations of the metrics of rollouts and of their updates, for the report.

ROLLOUT_CHARTS, SECONDS, SAMPLER and TRUNCATED are of metrics that any trainer on rollouts logs, or
a reward function; PPO_CHARTS are PPO's, GRPO_CHARTS and RLOO_CHARTS of trainers on groups of
answers. Imports nothing heavy: the checks of a recipe read them.
"""

from __future__ import annotations

from hfllm.recipe.stage import Chart

ROLLOUT_CHARTS = (
    Chart(
        "Constraints, and the reward for them",
        {
            "judge/keeps_constraints": "all kept",
            "rewards/keeps_constraints/mean": "all kept, reward",
            "judge/share_of_constraints": "share kept",
            "rewards/share_of_constraints/mean": "share kept, reward",
            "judge/relevant": "relevant",
            "length/floor": "long enough",
        },
        "score",
        "Constraints that the answers keep, and the reward after the judge and the length floor: "
        "the gap is what irrelevant or short texts kept (there is none with judge_nats 0). And "
        "the share of answers that the judge finds relevant.",
    ),
    Chart(
        "Constraints on form",
        {
            "kept/lowercase": "lowercase",
            "kept/no_comma": "no comma",
            "kept/bullets": "bullets",
            "kept/json": "JSON",
        },
        "share of answers",
        "Answers that keep a constraint on form, of those whose prompt has it.",
        better="up",
    ),
    Chart(
        "Constraints on words",
        {
            "kept/contains": "given words",
            "kept/ends_with": "last phrase",
            "kept/max_words": "at most n",
        },
        "share of answers",
        "Answers that keep a constraint on words or their number, of those whose prompt has it.",
        better="up",
    ),
    Chart(
        "Relevance",
        {"judge/relevance": ""},
        "nats per answer",
        "How much likelier the question makes an answer than its constraints alone do.",
        better="up",
    ),
    Chart(
        "Distance from the starting model",
        {"objective/kl": ""},
        "nats per answer",
        "KL divergence from the reference model. If it is large, the answers are unlike those that "
        "the reward model was trained on.",
    ),
    Chart(
        "KL in the loss",
        {"kl": ""},
        "nats per token",
        "GRPO's estimate of the KL divergence from the reference, where that is in the loss.",
    ),
    Chart(
        "Length of the answers",
        {"completions/mean_length": "all", "completions/mean_terminated_length": "ended"},
        "tokens",
        "Mean number of tokens, of all answers and of those that ended by themselves.",
    ),
)

TRUNCATED = Chart(
    "Truncated answers",
    {"completions/clipped_ratio": "truncated"},
    "share of answers",
    "Answers that reached the length limit.",
    better="down",
)

SECONDS = Chart(
    "Seconds per log",
    {"time/generate_s": "generate", "time/score_s": "score", "time/update_s": "update"},
    "seconds",
    "Time to generate answers, to score them and to update the model.",
)

SAMPLER = Chart(
    "Sampler and policy",
    {"sampler/kl": ""},
    "nats per token",
    "KL divergence of the low-precision copy that samples (generate_dtype) from the policy "
    "that is trained, on a few answers of each rollout. Rounding alone gives less than 0.001.",
    better="down",
)

PPO_CHARTS = (
    Chart(
        "Score of the answers",
        {
            "objective/score": "score",
            "objective/reward": "less KL",
            "eval_objective/score": "held-out",
        },
        "score",
        "Sum of the reward model and the reward functions. It also rises if the policy exploits "
        "errors of the reward model: compare the true score in the results.",
        better="up",
    ),
    *ROLLOUT_CHARTS,
    Chart(
        "Ended by themselves",
        {"completions/ended": "train", "eval_completions/ended": "held-out"},
        "share of answers",
        "Answers with an end of turn before the length limit.",
        better="up",
    ),
    Chart(
        "Score over distance",
        {"objective/score": ""},
        "score",
        "Score against the KL divergence from the reference model: training in at most ten "
        "segments, ordered by KL (Gao et al. 2022).",
        over="objective/kl",
        x_unit="nats",
    ),
    Chart(
        "Length over distance",
        {"completions/mean_length": ""},
        "tokens",
        "Mean number of tokens against the KL divergence: whether the score rises with length.",
        over="objective/kl",
        x_unit="nats",
    ),
    SECONDS,
    TRUNCATED,
    SAMPLER,
    Chart(
        "Value loss",
        {"value/loss": ""},
        "score squared",
        "Half the squared error of the values of the critic against the returns.",
        better="down",
    ),
    Chart(
        "Explained variance",
        {"value/explained_variance": ""},
        "share",
        "Share of the variance of returns that the critic predicts: 1 is all, 0 only their mean.",
        better="up",
    ),
    Chart(
        "Clipped updates",
        {"clip_ratio/region_mean": "policy", "value/clip_ratio": "value"},
        "share of tokens",
        "Tokens whose probability, or value, changed more than the clip range in one update.",
    ),
)

# Not charted: in the table of all metrics, which is folded on the page.
PPO_UNCHARTED = (
    "loss",  # policy and value together, around 0 by construction
    "reward", "reward_std", "rewards/*", "frac_reward_zero_std",  # before KL and penalties
    "completions/min_length", "completions/max_length",
    "completions/min_terminated_length", "completions/max_terminated_length",
    "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max",
    "policy/approx_kl", "value/mean", "step_time", "sampling/*", "tools/*", "aux_loss",
    "entropy_coef", "policy_loss", "completions/unscored",
)  # fmt: skip

_GROUP_CHARTS = (
    Chart(
        "Reward of the answers",
        {"reward": "reward"},
        "score",
        "Weighted sum of the reward model, the reward functions and the penalty for a missing end. "
        "It also rises if the policy exploits errors of a reward: compare the results.",
        better="up",
    ),
    Chart(
        "Spread of the rewards",
        {"reward_std": ""},
        "score",
        "Standard deviation over the answers of a rollout.",
    ),
    Chart(
        "Groups with one reward",
        {"frac_reward_zero_std": ""},
        "share of groups",
        "Groups whose answers all got the same reward: none is better than another, so they teach "
        "nothing.",
        better="down",
    ),
    *ROLLOUT_CHARTS,
    SECONDS,
    TRUNCATED,
    SAMPLER,
)
GRPO_CHARTS = (
    *_GROUP_CHARTS,
    Chart(
        "Clipped updates",
        {"clip_ratio/region_mean": "clipped", "cispo_clip_ratio": "cispo"},
        "share of tokens",
        "Tokens whose probability changed more than the clip range in one update.",
    ),
)
KL_IN_REWARD = Chart(
    "Distance from the reference",
    {"kl": ""},
    "nats per token",
    "How far the answers are from the reference model; beta times its sum is taken off the reward.",
)
RLOO_CHARTS = (
    *(chart for chart in _GROUP_CHARTS if "kl" not in chart.metrics),
    KL_IN_REWARD,
    Chart(
        "Clipped updates",
        {"clip_ratio/region_mean": ""},
        "share of answers",
        "Answers whose probability changed more than the clip range in one update.",
    ),
)
GROUP_UNCHARTED = (
    "loss",  # around 0 by construction
    "rewards/*", "completions/min_length", "completions/max_length",
    "completions/min_terminated_length", "completions/max_terminated_length",
    "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max",
    "vespo/phi_seq_mean", "step_time", "sampling/*", "aux_loss", "entropy_coef", "policy_loss",
    "completions/unscored",
)  # fmt: skip

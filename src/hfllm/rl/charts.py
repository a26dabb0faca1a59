"""The metrics of rollouts and of PPO's updates, as charts; light: the recipe's checks read them."""

from __future__ import annotations

from hfllm.recipe.stage import Chart

PPO_CHARTS = (
    Chart(
        "Score of the answers",
        {
            "objective/score": "score",
            "objective/reward": "less KL",
            "eval_objective/score": "held-out",
        },
        "score",
        "What the answers earn from the reward model and the reward functions. It rises "
        "also when the policy fools the reward model: compare the true score in the "
        "results.",
        better="up",
    ),
    Chart(
        "What a judge leaves of it",
        {
            "judge/keeps_constraints": "kept",
            "rewards/keeps_constraints/mean": "earned",
            "judge/share_of_constraints": "share kept",
            "rewards/share_of_constraints/mean": "earned",
            "judge/relevant": "an answer",
            "length/floor": "long enough",
        },
        "score",
        "Instructions kept, and what that earns where a text counts only as far as it is "
        "an answer: the gap is what was kept by something else (a judge that only watches "
        "leaves none). And the share of texts that the judge takes for an answer.",
    ),
    Chart(
        "Form that was asked for",
        {
            "kept/lowercase": "lowercase",
            "kept/no_comma": "no comma",
            "kept/bullets": "bullets",
            "kept/json": "JSON",
        },
        "share of answers",
        "How many answers keep an instruction on form, of those that are asked for it.",
        better="up",
    ),
    Chart(
        "Words that were asked for",
        {
            "kept/contains": "given words",
            "kept/ends_with": "last phrase",
            "kept/max_words": "at most n",
        },
        "share of answers",
        "How many say what they are to say, and no more than that, of those that are asked for it.",
        better="up",
    ),
    Chart(
        "Relevance",
        {"judge/relevance": ""},
        "nats per answer",
        "How much likelier the question makes an answer than its instructions alone do.",
        better="up",
    ),
    Chart(
        "Distance from the starting model",
        {"objective/kl": "", "kl": ""},
        "nats per answer",
        "KL divergence from the reference model; a large one means that the policy has "
        "left what the reward model knows.",
    ),
    Chart(
        "Length of the answers",
        {"completions/mean_length": "all", "completions/mean_terminated_length": "ended"},
        "tokens",
        "Mean number of tokens, of all answers and of those that ended by themselves.",
    ),
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
        "What a nat of distance from the starting model has bought: training in at most "
        "ten stretches, ordered by distance (Gao et al. 2022).",
        over="objective/kl",
        x_unit="nats",
    ),
    Chart(
        "Length over distance",
        {"completions/mean_length": ""},
        "tokens",
        "Whether it was bought with length.",
        over="objective/kl",
        x_unit="nats",
    ),
    Chart(
        "Seconds per log",
        {"time/generate_s": "generate", "time/score_s": "score", "time/update_s": "update"},
        "seconds",
        "Where the time goes: writing answers, scoring them, updating the model.",
    ),
    Chart(
        "Cut off",
        {"completions/clipped_ratio": "cut off"},
        "share of answers",
        "Answers that ran into the length limit.",
        better="down",
    ),
    Chart(
        "Value loss",
        {"value/loss": ""},
        "score squared",
        "Squared error of the critic: what it expects against what the answers earned.",
        better="down",
    ),
    Chart(
        "Explained variance",
        {"value/explained_variance": ""},
        "share",
        "How much of the returns the critic foresees: 1 is all, 0 no more than their mean.",
        better="up",
    ),
    Chart(
        "Clipped updates",
        {"clip_ratio/region_mean": "policy", "value/clip_ratio": "value"},
        "share of tokens",
        "Tokens whose probability, or value, moved further than PPO allows in one update.",
    ),
)

# In the table of all metrics, and folded away on the page.
PPO_UNCHARTED = (
    "loss",  # policy and value together, around 0 by construction
    "reward", "reward_std", "rewards/*", "frac_reward_zero_std",  # before KL and penalties
    "completions/min_length", "completions/max_length",
    "completions/min_terminated_length", "completions/max_terminated_length",
    "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max",
    "policy/approx_kl", "value/mean", "step_time", "sampling/*", "tools/*", "aux_loss",
    "entropy_coef", "policy_loss",
)  # fmt: skip

"""The charts of training: which metrics stand together, and what they mean in plain words.

The page prints a meaning only where the metric is used. The metrics of the results stand in
evaluation/measure.py.
"""

from __future__ import annotations

from hfllm.report.panel import Panel

_SPLIT = "train", "held-out"


def _pair(key: str) -> dict[str, str]:
    return dict(zip((key, f"eval_{key}"), _SPLIT, strict=True))


CHARTS = (
    Panel(
        "Bits per byte",
        "bits per byte of text",
        _pair("bpb") | {"eval_bits_per_byte": "held-out"},
        "Bits the model needs for one byte of text it has never seen. Unlike loss per token it "
        "can be compared between models with different tokenizers.",
        log=True,
    ),
    Panel(
        "Loss",
        "nats per token",
        _pair("loss"),
        "How surprised the model is by the next token.",
        log=True,
        stages=("pretrain", "sft"),
    ),
    Panel(
        "Accuracy on pairs",
        "share of pairs",
        _pair("accuracy"),
        "How often the better answer gets the higher score; guessing gives 0.5.",
        stages=("reward",),
    ),
    Panel(
        "Loss",
        "nats per pair",
        _pair("loss"),
        "−log σ(score of the better answer − score of the worse); guessing gives 0.69.",
        stages=("reward",),
    ),
    Panel(
        "Margin",
        "score",
        _pair("margin"),
        "Score of the better answer minus that of the worse.",
        stages=("reward",),
    ),
    Panel(
        "Scores",
        "score",
        {"max_reward": "highest", "mean_reward": "mean", "min_reward": "lowest"},
        "Range of the scores in a batch.",
        stages=("reward",),
    ),
    Panel(
        "Score of the answers",
        "score",
        {
            "objective/score": "score",
            "objective/reward": "less KL",
            "eval_objective/score": "held-out",
        },
        "What the answers earn from the reward model and the reward functions. It rises also "
        "when the policy fools the reward model: compare the true score in the results.",
        stages=("ppo",),
    ),
    Panel(
        "What a judge leaves of it",
        "score",
        {
            "judge/keeps_constraints": "kept",
            "rewards/keeps_constraints/mean": "earned",
            "judge/share_of_constraints": "share kept",
            "rewards/share_of_constraints/mean": "earned",
            "judge/relevant": "an answer",
            "length/floor": "long enough",
        },
        "Instructions kept, and what that earns where a text counts only as far as it is an "
        "answer: the gap is what was kept by something else (a judge that only watches leaves "
        "none). And the share of texts that the judge takes for an answer.",
        stages=("ppo",),
    ),
    Panel(
        "Form that was asked for",
        "share of answers",
        {
            "kept/lowercase": "lowercase",
            "kept/no_comma": "no comma",
            "kept/bullets": "bullets",
            "kept/json": "JSON",
        },
        "How many answers keep an instruction on form, of those that are asked for it.",
        stages=("ppo",),
    ),
    Panel(
        "Words that were asked for",
        "share of answers",
        {
            "kept/contains": "given words",
            "kept/ends_with": "last phrase",
            "kept/max_words": "at most n",
        },
        "How many say what they are to say, and no more than that, of those that are asked for it.",
        stages=("ppo",),
    ),
    Panel(
        "Relevance",
        "nats per answer",
        {"judge/relevance": ""},
        "How much likelier the question makes an answer than its instructions alone do.",
        stages=("ppo",),
    ),
    Panel(
        "Distance from the starting model",
        "nats per answer",
        {"objective/kl": "", "kl": ""},
        "KL divergence from the reference model; a large one means that the policy has left what "
        "the reward model knows.",
        stages=("ppo",),
    ),
    Panel(
        "Length of the answers",
        "tokens",
        {"completions/mean_length": "all", "completions/mean_terminated_length": "ended"},
        "Mean number of tokens, of all answers and of those that ended by themselves.",
        stages=("ppo",),
    ),
    Panel(
        "Ended by themselves",
        "share of answers",
        {"completions/ended": "train", "eval_completions/ended": "held-out"},
        "Answers with an end of turn before the length limit.",
        stages=("ppo",),
    ),
    Panel(
        "Score over distance",
        "score",
        {"objective/score": ""},
        "What a nat of distance from the starting model has bought: training in at most ten "
        "stretches, ordered by distance (Gao et al. 2022).",
        stages=("ppo",),
        over="objective/kl",
        x_unit="nats",
    ),
    Panel(
        "Length over distance",
        "tokens",
        {"completions/mean_length": ""},
        "Whether it was bought with length.",
        stages=("ppo",),
        over="objective/kl",
        x_unit="nats",
    ),
    Panel(
        "Seconds per log",
        "seconds",
        {"time/generate_s": "generate", "time/score_s": "score", "time/update_s": "update"},
        "Where the time goes: writing answers, scoring them, updating the model.",
        stages=("ppo",),
    ),
    Panel(
        "Cut off",
        "share of answers",
        {"completions/clipped_ratio": "cut off"},
        "Answers that ran into the length limit.",
        stages=("ppo",),
    ),
    Panel(
        "Value loss",
        "score squared",
        {"value/loss": ""},
        "Squared error of the critic: what it expects against what the answers earned.",
        stages=("ppo",),
    ),
    Panel(
        "Explained variance",
        "share",
        {"value/explained_variance": ""},
        "How much of the returns the critic foresees: 1 is all, 0 no more than their mean.",
        stages=("ppo",),
    ),
    Panel(
        "Clipped updates",
        "share of tokens",
        {"clip_ratio/region_mean": "policy", "value/clip_ratio": "value"},
        "Tokens whose probability, or value, moved further than PPO allows in one update.",
        stages=("ppo",),
    ),
    Panel(
        "Entropy",
        "nats per token",
        {"entropy": "train", "eval_entropy": "held-out"},
        "How undecided the model is; near 0 it always says the same.",
    ),
    Panel(
        "Next token right",
        "share of tokens",
        _pair("mean_token_accuracy"),
        "How often the likeliest token is the right one.",
    ),
    Panel(
        "Learning rate",
        "learning rate",
        {"learning_rate": "", "lr": ""},
        "The schedule.",
    ),
    Panel(
        "Gradient norm",
        "norm",
        {"grad_norm": "", "value/grad_norm": "critic"},
        "Before clipping; spikes warn of instability.",
        log=True,
    ),
    Panel(
        "Speed",
        "tokens per second",
        {"tokens_per_s": ""},
        "Tokens that went through training per second of wall time.",
    ),
)

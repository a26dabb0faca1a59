"""What the metrics mean, in plain words, and which of them are better high or low.

One place for both the charts of training and the table of results; the page prints a word's
meaning only where the word is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A chart: its title, unit, the keys it may show with their short labels, and its meaning.

    A key that ends in "*" matches every key with that beginning. `stages` limits a panel to the
    stages in which its keys mean this.
    """

    title: str
    unit: str
    keys: dict[str, str]
    meaning: str = ""
    log: bool = False
    stages: tuple[str, ...] = ()

    def match(self, keys: list[str], stage: str) -> list[str]:
        """The keys of a step that belong in this panel, in the panel's order."""
        if self.stages and stage not in self.stages:
            return []
        chosen = []
        for pattern in self.keys:
            if pattern.endswith("*"):
                chosen += [k for k in keys if k.startswith(pattern[:-1]) and k not in chosen]
            elif pattern in keys:
                chosen.append(pattern)
        return chosen

    def label(self, key: str) -> str:
        """The short label of a key: the panel's, else the end of the key itself."""
        if key in self.keys:
            return self.keys[key]
        return re.sub(r"/mean$", "", key).split("/")[-1].replace("_", " ")[:14]


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
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Distance from the starting model",
        "nats per answer",
        {"objective/kl": "", "kl": ""},
        "KL divergence from the reference model; a large one means that the policy has left what "
        "the reward model knows.",
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Length of the answers",
        "tokens",
        {"completions/mean_length": "all", "completions/mean_terminated_length": "ended"},
        "Mean number of tokens, of all answers and of those that ended by themselves.",
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Ended by themselves",
        "share of answers",
        {"completions/ended": "train", "eval_completions/ended": "held-out"},
        "Answers with an end of turn before the length limit.",
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Seconds per log",
        "seconds",
        {"time/generate_s": "generate", "time/score_s": "score", "time/update_s": "update"},
        "Where the time goes: writing answers, scoring them, updating the model.",
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Cut off",
        "share of answers",
        {"completions/clipped_ratio": "cut off"},
        "Answers that ran into the length limit.",
        stages=("ppo", "grpo"),
    ),
    Panel(
        "Value loss",
        "score squared",
        {"value/loss": ""},
        "Squared error of the critic: what it expects against what the answers earned.",
        stages=("ppo", "grpo"),
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
        stages=("ppo", "grpo"),
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
        {"grad_norm": "", "critic_grad_norm": "critic"},
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

# Metrics of the results: (pattern of the name, meaning, +1 higher is better / -1 lower / 0 neither,
# whether it is a share of one). The first pattern that matches counts.
MEASURES: tuple[tuple[str, str, int, bool], ...] = (
    (r"bits_per_byte|bpb", "Bits needed per byte of held-out text; lower is better.", -1, False),
    (r"perplexity|loss|nll", "Surprise per token on held-out text; lower is better.", -1, False),
    (
        r"true_score",
        "What an answer is really worth by the known facts, from 0 to 1, whatever the reward "
        "model says.",
        1,
        True,
    ),
    (r"refused_answerable", "Answerable questions refused; lower is better.", -1, True),
    (
        r"refused_unanswerable",
        "Unanswerable questions refused, as they should be: what is not refused was made up.",
        1,
        True,
    ),
    (r"refusal_precision", "Of the refusals, the share that was right to refuse.", 1, True),
    (r"refus", "Answers that say “I do not know”.", 0, True),
    (r"ended", "Answers that ended by themselves before the length limit.", 1, True),
    (
        r"ece|brier",
        "Calibration error: how far stated confidence is from how often it is right; 0 is best.",
        -1,
        True,
    ),
    (r"^confidence", "Mean probability of the likeliest choice.", 0, True),
    (r"length_accuracy", "What preferring by length alone would get on the pairs.", 0, True),
    (r"chosen_longer", "Pairs in which the better answer is the longer one.", 0, True),
    (r"picks_longer", "Pairs in which the reward model prefers the longer answer.", 0, True),
    (r"choice_accuracy", "Questions whose right choice is the likeliest.", 1, True),
    (r"^acc_norm", "Right choice likeliest per character (length-normalised).", 1, True),
    (r"^acc$", "Right choice likeliest.", 1, True),
    (r"accuracy|correct|exact|win", "Share that is right.", 1, True),
    (r"reward|score", "Score from the reward model; it can be fooled.", 0, False),
    (r"^kl", "KL divergence of the answers from the reference model, in nats.", 0, False),
    (r"length|tokens", "Tokens per answer.", 0, False),
)
# Measures that explain others rather than stand for themselves: folded away under the table.
SECONDARY = ("ended", "answer_tokens", "confidence", "choice_accuracy", "acc")


def measure(metric: str) -> tuple[str, int, bool]:
    """Meaning, direction (+1 higher is better, -1 lower, 0 neither) and whether it is a share."""
    for pattern, meaning, direction, share in MEASURES:
        if re.search(pattern, metric.lower()):
            return meaning, direction, share
    return "", 0, False

"""What the metrics of the results mean, and which of them are better high or low."""

from __future__ import annotations

import re
from collections.abc import Collection

# Metrics of the results: (pattern of the name, meaning, +1 higher is better / -1 lower / 0 neither,
# whether it is a share of one). The first pattern that matches counts.
MEASURES: tuple[tuple[str, str, int, bool], ...] = (
    (r"bits_per_byte|bpb", "Bits needed per byte of held-out text; lower is better.", -1, False),
    (r"^perplexity", "Choices that a continuation costs, on average; lower is better.", -1, False),
    (r"loss|nll", "Surprise per token on held-out text; lower is better.", -1, False),
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
    (r"^acc$", "Right choice likeliest, or right continuation.", 1, True),
    (
        r"^accuracy_relevant",
        "Share that keeps every instruction and is an answer to the question.",
        1,
        True,
    ),
    (
        r"^relevant",
        "Answers that the question makes much likelier (14 nats) than its instructions alone do.",
        1,
        True,
    ),
    (
        r"accuracy_loose",
        "Share that is right if a first or last line, and asterisks, are overlooked.",
        1,
        True,
    ),
    (r"accuracy|correct|exact|win", "Share that is right.", 1, True),
    (r"reward|score", "Score from the reward model; it can be fooled.", 0, False),
    (r"^looping", "Answers in which some run of four words stands at least three times.", -1, True),
    (
        r"^same_answer",
        "Answers that the model gives word for word to another prompt of the task, too.",
        -1,
        True,
    ),
    (r"^kl_at_most", "KL divergence that best of n cannot exceed, in nats.", 0, False),
    (r"^kl", "KL divergence of the answers from the reference model, in nats.", 0, False),
    (r"length|tokens", "Tokens per answer.", 0, False),
)
# Measures that explain others rather than stand for themselves: folded away under the table.
_SECONDARY = ("ended", "answer_tokens", "confidence", "choice_accuracy")


def is_secondary(task: str, metric: str, metrics: Collection[str]) -> bool:
    """Whether a row of the table is folded away; `metrics` are all that the task has."""
    if "/" in task:  # a part of another task
        return metric not in ("accuracy", "reward")
    return metric in _SECONDARY or (metric == "acc" and "acc_norm" in metrics)


def measure(metric: str) -> tuple[str, int, bool]:
    """Meaning, direction (+1 higher is better, -1 lower, 0 neither) and whether it is a share."""
    for pattern, meaning, direction, share in MEASURES:
        if re.search(pattern, metric.lower()):
            return meaning, direction, share
    return "", 0, False

"""Every metric that an evaluation writes: its unit, its meaning and which way is better.

A result is made of a `Measure` (specs.result), so none can be written that is not declared here.
Who makes a metric imports its declaration; the report reads it by the metric's exact name, for the
words under a table, for what is drawn in percent and for the marks "better" and "worse". This
module stands apart from the tasks that make the metrics because they need torch, and the report
must not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

SHARE = "share"


@dataclass(frozen=True)
class Measure:
    """A metric, declared.

    name: as in results.json.
    unit: "share" for a share of one, which is shown in percent.
    meaning: one sentence for the reader of the table.
    better: "up" or "down"; "" where neither is.
    secondary: explains others rather than stands for itself: folded away under the table.
    secondary_beside: the same, where the task has that other metric too.
    in_subsets: stands for itself in a subset of a task too, where all others are secondary.
    """

    name: str
    unit: str = ""
    meaning: str = ""
    better: Literal["up", "down", ""] = ""
    secondary: bool = False
    secondary_beside: str = ""
    in_subsets: bool = False

    def is_folded(self, task: str, metrics: Collection[str]) -> bool:
        """Whether its row for a task is folded away; `metrics` are all that the task has."""
        if "/" in task:  # a subset of another task
            return not self.in_subsets
        return self.secondary or self.secondary_beside in metrics


# tasks/bits_per_byte.py, continuation.py, choices.py: likelihoods

BITS_PER_BYTE = Measure(
    "bits_per_byte",
    "bits per byte",
    "Bits needed per byte of held-out text; lower is better.",
    better="down",
)
PERPLEXITY = Measure(
    "perplexity",
    "choices",
    "Choices that a continuation costs, on average; lower is better.",
    better="down",
)
ACC = Measure(
    "acc",
    SHARE,
    "Right choice likeliest, or right continuation.",
    better="up",
    secondary_beside="acc_norm",
)
ACC_NORM = Measure(
    "acc_norm", SHARE, "Right choice likeliest per character (length-normalised).", better="up"
)

# calibration.py: how sure a model is, and how often right

CONFIDENCE = Measure(
    "confidence", SHARE, "Mean probability of the likeliest choice.", secondary=True
)
ECE = Measure(
    "ece",
    SHARE,
    "Calibration error: how far stated confidence is from how often it is right; 0 is best.",
    better="down",
)

# tasks/answers.py: what every answer is measured by

ACCURACY = Measure("accuracy", SHARE, "Share that is right.", better="up", in_subsets=True)
REFUSED_ANSWERABLE = Measure(
    "refused_answerable", SHARE, "Answerable questions refused; lower is better.", better="down"
)
REFUSED_UNANSWERABLE = Measure(
    "refused_unanswerable",
    SHARE,
    "Unanswerable questions refused, as they should be: what is not refused was made up.",
    better="up",
)
REFUSAL_PRECISION = Measure(
    "refusal_precision",
    SHARE,
    "Of the refusals, the share that was right to refuse.",
    better="up",
)
ENDED = Measure(
    "ended",
    SHARE,
    "Answers that ended by themselves before the length limit.",
    better="up",
    secondary=True,
)
ANSWER_TOKENS = Measure("answer_tokens", "tokens", "Tokens per answer.", secondary=True)
TRUE_SCORE = Measure(
    "true_score",
    SHARE,
    "What an answer is really worth by the known facts, from 0 to 1, whatever the reward "
    "model says.",
    better="up",
)
CHOICE_ACCURACY = Measure(
    "choice_accuracy",
    SHARE,
    "Questions whose right choice is the likeliest.",
    better="up",
    secondary=True,
)

# tasks/replies.py, instructions.py, ifeval.py

LOOPING = Measure(
    "looping",
    SHARE,
    "Answers in which some run of four words stands at least three times.",
    better="down",
)
SAME_ANSWER = Measure(
    "same_answer",
    SHARE,
    "Answers that the model gives word for word to another prompt of the task, too.",
    better="down",
)
_LOOSE = "Share that is right if a first or last line, and asterisks, are overlooked."
ACCURACY_LOOSE = Measure("accuracy_loose", SHARE, _LOOSE, better="up")
ACCURACY_RELEVANT = Measure(
    "accuracy_relevant",
    SHARE,
    "Share that keeps every instruction and is an answer to the question.",
    better="up",
)
INSTRUCTION_ACCURACY = Measure("instruction_accuracy", SHARE, "Share that is right.", better="up")
INSTRUCTION_ACCURACY_LOOSE = Measure("instruction_accuracy_loose", SHARE, _LOOSE, better="up")

# scorers.py, best_of.py: what other models say of the answers

REWARD = Measure(
    "reward", "score", "Score from the reward model; it can be fooled.", in_subsets=True
)
RELEVANT = Measure(
    "relevant",
    SHARE,
    "Answers that the question makes much likelier (14 nats) than its instructions alone do.",
    better="up",
)
KL = Measure("kl", "nats", "KL divergence of the answers from the reference model, in nats.")
KL_AT_MOST = Measure("kl_at_most", "nats", "KL divergence that best of n cannot exceed, in nats.")

# tasks/preference.py: the reward model itself (its `accuracy` is that of pairs)

LENGTH_ACCURACY = Measure(
    "length_accuracy", SHARE, "What preferring by length alone would get on the pairs."
)
CHOSEN_LONGER = Measure(
    "chosen_longer", SHARE, "Pairs in which the better answer is the longer one."
)
PICKS_LONGER = Measure(
    "picks_longer", SHARE, "Pairs in which the reward model prefers the longer answer."
)

MEASURES: dict[str, Measure] = {
    one.name: one for one in tuple(globals().values()) if isinstance(one, Measure)
}


def measure_of(name: str) -> Measure:
    """The declaration of a metric; one without meaning or direction where there is none."""
    return MEASURES.get(name) or Measure(name)

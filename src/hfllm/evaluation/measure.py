"""Declarations of all evaluation metrics: name, unit, meaning, and which direction is better.

`specs.result` takes a `Measure`, so no metric is written that is not declared here. The report
looks a declaration up by the metric's name (`measure_of`): for the explanations under a table, for
what is shown in percent, and for the marks "better" and "worse". The declarations are not in the
modules of the tasks because those import torch, which the report must not.
"""

from __future__ import annotations

from hfllm.evaluation.declaration import SHARE, Measure

# tasks/bits_per_byte.py, continuation.py, choices.py

BITS_PER_BYTE = Measure(
    "bits_per_byte",
    "bits per byte",
    "bits per byte",
    "Bits needed per byte of held-out text; lower is better.",
    better="down",
)
PERPLEXITY = Measure(
    "perplexity",
    "perplexity",
    "choices",
    "Choices that a continuation costs, on average; lower is better.",
    better="down",
)
ACC = Measure(
    "acc",
    "right choice likeliest",
    SHARE,
    "Right choice likeliest, or right continuation.",
    better="up",
    secondary_beside="acc_norm",
)
ACC_NORM = Measure(
    "acc_norm",
    "right choice likeliest per character",
    SHARE,
    "Right choice likeliest per character (length-normalised).",
    better="up",
)

# calibration.py

CONFIDENCE = Measure(
    "confidence", "confidence", SHARE, "Mean probability of the likeliest choice.", secondary=True
)
ECE = Measure(
    "ece",
    "calibration error",
    SHARE,
    "Calibration error: how far stated confidence is from how often it is right; 0 is best.",
    better="down",
)

# tasks/answers.py: metrics of all answers

ACCURACY = Measure(
    "accuracy",
    "right",
    SHARE,
    "Share that is right.",
    better="up",
    instead_of="true_score",
    in_subsets=True,
)
REFUSED_ANSWERABLE = Measure(
    "refused_answerable",
    "refused needlessly",
    SHARE,
    "Answerable questions refused; lower is better.",
    better="down",
)
REFUSED_UNANSWERABLE = Measure(
    "refused_unanswerable",
    "refused rightly",
    SHARE,
    "Unanswerable questions refused, as they should be; the rest were answered with inventions.",
    better="up",
    instead_of="accuracy",
)
REFUSAL_PRECISION = Measure(
    "refusal_precision",
    "right among the refusals",
    SHARE,
    "Of the refusals, the share that was right to refuse.",
    better="up",
)
ENDED = Measure(
    "ended",
    "ended by themselves",
    SHARE,
    "Answers that ended by themselves before the length limit.",
    better="up",
    secondary=True,
)
ANSWER_TOKENS = Measure(
    "answer_tokens", "tokens an answer", "tokens", "Tokens per answer.", secondary=True
)
TRUE_SCORE = Measure(
    "true_score",
    "true score",
    SHARE,
    "Quality of an answer by the known facts, from 0 to 1, independent of the reward model.",
    better="up",
)
CHOICE_ACCURACY = Measure(
    "choice_accuracy",
    "ranks the right choice first",
    SHARE,
    "Questions whose right choice is the likeliest.",
    better="up",
    secondary=True,
)

# tasks/replies.py, instructions.py, ifeval.py

LOOPING = Measure(
    "looping",
    "goes in circles",
    SHARE,
    "Answers in which some sequence of four words, or signs where there are no words, occurs at "
    "least three times.",
    better="down",
)
SAME_ANSWER = Measure(
    "same_answer",
    "same answer as to another prompt",
    SHARE,
    "Answers that the model also gives, word for word, to another prompt of the task.",
    better="down",
)
REPLY_LOSS = Measure(
    "reply_loss",
    "Loss on the given replies",
    "nats per token",
    "How surprised the model is by the reply that the test itself gives, its end included.",
    better="down",
)
_LOOSE = "Share that is right if a first or last line, and asterisks, are ignored."
ACCURACY_LOOSE = Measure("accuracy_loose", "right, read loosely", SHARE, _LOOSE, better="up")
ACCURACY_RELEVANT = Measure(
    "accuracy_relevant",
    "right and relevant",
    SHARE,
    "Share that keeps every instruction and is an answer to the question.",
    better="up",
)
INSTRUCTION_ACCURACY = Measure(
    "instruction_accuracy", "single instructions kept", SHARE, "Share that is right.", better="up"
)
INSTRUCTION_ACCURACY_LOOSE = Measure(
    "instruction_accuracy_loose",
    "single instructions kept, read loosely",
    SHARE,
    _LOOSE,
    better="up",
)

# scorers.py, best_of.py: metrics that need another model

REWARD = Measure(
    "reward",
    "reward-model score",
    "score",
    "Score from the reward model; it can be fooled.",
    in_subsets=True,
)
RELEVANT = Measure(
    "relevant",
    "relevant",
    SHARE,
    "Answers that the question makes much likelier (14 nats) than its instructions alone do.",
    better="up",
)
KL = Measure(
    "kl",
    "distance from its reference",
    "nats",
    "KL divergence of the answers from the reference model, in nats.",
)
KL_AT_MOST = Measure(
    "kl_at_most",
    "distance from the reference model, at most",
    "nats",
    "KL divergence that best of n cannot exceed, in nats.",
)

# tasks/preference.py: metrics of the reward model itself (its `accuracy` is that on pairs)

LENGTH_ACCURACY = Measure(
    "length_accuracy",
    "right by length alone",
    SHARE,
    "Accuracy on the pairs of a rule that looks at the length alone.",
)
CHOSEN_LONGER = Measure(
    "chosen_longer",
    "better answer is the longer one",
    SHARE,
    "Pairs in which the better answer is the longer one.",
)
PICKS_LONGER = Measure(
    "picks_longer",
    "reward model prefers the longer one",
    SHARE,
    "Pairs in which the reward model prefers the longer answer.",
)

MEASURES: dict[str, Measure] = {
    one.name: one for one in tuple(globals().values()) if isinstance(one, Measure)
}


def measure_of(name: str) -> Measure:
    """The declaration of a metric; an undeclared one has no unit, meaning or direction."""
    return MEASURES.get(name) or Measure(name)

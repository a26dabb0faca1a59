"""Confidence of a model in one of several choices, measured inside its own greedy answer.

A chat model answers "Mira Holt works as a baker.", not "baker", so the likelihood of the bare word
at the start of the answer says little. Two forward passes per answer instead:

1. over the answer: find the position where the first tokens of the choices have the largest total
   probability;
2. over the answer up to that position and each choice: the softmax over the log-likelihoods of the
   choices is the confidence.

It needs no particular form of the answer, and works for base models too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hfllm.evaluation.accepted import named
from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.evaluation.specs import TestRow, check_finite
from hfllm.inference.cut import say_cut
from hfllm.inference.generate import Answer
from hfllm.inference.logits import batches, row_logits, vocab_size
from hfllm.inference.loglik import continuation, token_logprobs
from hfllm.inference.prompts import positions
from hfllm.modeling.batching import ScoringRequest
from hfllm.tokenization.encode import encode_text

Encoded = tuple[list[int], list[int]]  # ids at the start of an answer, ids inside it


def choice_confidence(
    tested: ModelUnderTest, rows: Sequence[TestRow], answers: Sequence[Answer]
) -> dict[int, tuple[float, bool]]:
    """Confidence of a model in its likeliest choice, per row.

    Args:
        tested: the model.
        rows: test rows; those without `choices`, or whose choices lack the `answer`, are left out.
        answers: the model's answer to each row.

    Returns:
        {row number: (confidence in [0, 1], whether that choice is the right one)}.

    Raises:
        ValueError: a choice alone exceeds the model's positions; names the row.
    """
    asked = [
        i
        for i, row in enumerate(rows)
        if row.get("answer") in (row.get("choices") or []) and answers[i].ids
    ]
    choices = [encode_choices(tested, rows[i]["choices"]) for i in asked]
    starts = likeliest_positions(tested, [answers[i] for i in asked], choices)
    limit = positions(tested.model)
    scored, cut, label = list[ScoringRequest](), 0, f"{tested.spec.name}: choices"
    for i, at, encoded_choices in zip(asked, starts, choices, strict=True):
        before = answers[i].prompt_ids + answers[i].ids[:at]
        for encoded in encoded_choices:
            with named(rows[i]):
                scored.append(continuation(before, encoded[bool(at)], limit))
            cut += scored[-1].start < len(before)
    say_cut(label, cut, len(scored), limit, "prompts with an answer and a choice")
    logprobs = iter(token_logprobs(tested.model, scored, label))
    out = {}
    for i in asked:
        texts = rows[i]["choices"]
        sums = torch.stack([next(logprobs).sum() for _ in texts])  # (C,)
        check_finite(sums.tolist(), f"{label} of row {i}")
        shares = sums.softmax(0)  # (C,)
        best = int(shares.argmax())
        out[i] = (float(shares[best]), texts[best] == rows[i]["answer"])
    return out


def encode_choices(tested: ModelUnderTest, choices: Sequence[str]) -> list[Encoded]:
    """Token ids of each choice at the start of an answer, and inside it (after a space)."""
    inside = [encode_text(tested.tokenizer, " " + choice) for choice in choices]
    if not tested.spec.chat:  # the prompt ends in "Answer:", so its answer begins with a space
        return [(ids, ids) for ids in inside]
    first = [encode_text(tested.tokenizer, choice) for choice in choices]
    return list(zip(first, inside, strict=True))


@torch.inference_mode()
def likeliest_positions(
    tested: ModelUnderTest, answers: Sequence[Answer], choices: Sequence[list[Encoded]]
) -> list[int]:
    """Position in each answer where a choice is most probable to begin.

    Args:
        tested: the model.
        answers: N answers of at least one token.
        choices: the encoded choices of each answer.

    Returns:
        N numbers of answer tokens before that position.
    """
    rows = [
        ScoringRequest(answer.prompt_ids + answer.ids, len(answer.prompt_ids)) for answer in answers
    ]
    out = [0] * len(rows)
    for chosen in batches(rows, vocab_size(tested.model)):
        logits = row_logits(tested.model, [rows[i] for i in chosen])
        for i, line in zip(chosen, logits, strict=True):
            probs = line.float().softmax(-1)  # (T, V)
            begins = probs[:, sorted({inside[0] for _, inside in choices[i]})].sum(-1)  # (T,)
            begins[0] = probs[0, sorted({start[0] for start, _ in choices[i]})].sum()
            out[i] = int(begins.argmax())
    return out

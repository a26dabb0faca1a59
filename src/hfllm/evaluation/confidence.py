"""How sure a model is of a fact: its likelihood of each choice, in its own words.

A chat model answers "Mira Holt works as a baker.", not "baker", so the likelihood of the bare word
at the start of the answer says little. Here the choices are compared at the place in the model's
own greedy answer where it is most ready to say one of them: one forward over all answers gives the
chance of each choice's first token at every position, the best position is taken, and a second
forward scores the whole choices there. The softmax over the choices' log-likelihoods is the
confidence; it needs no particular form of the answer, and works for a base model alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.inference.generate import Answer
from hfllm.inference.logits import batches, row_logits, vocab_size
from hfllm.inference.loglik import continuation, token_logprobs
from hfllm.inference.prompts import positions
from hfllm.modeling.batching import ScoringRequest
from hfllm.tokenization.encode import encode_text

Row = dict[str, Any]


def choice_confidence(
    tested: ModelUnderTest, rows: Sequence[Row], answers: Sequence[Answer]
) -> dict[int, tuple[float, bool]]:
    """Row number -> (confidence in the likeliest choice, whether it is the right one).

    Rows without choices, or whose choices lack the answer, are left out.
    """
    asked = [
        i
        for i, row in enumerate(rows)
        if row.get("answer") in (row.get("choices") or []) and answers[i].ids
    ]
    choices = [encode_choices(tested, rows[i]["choices"]) for i in asked]
    at = places(tested, [answers[i] for i in asked], choices)
    limit = positions(tested.model)
    scored = [
        continuation(answers[i].prompt_ids + answers[i].ids[:place], forms[bool(place)], limit)
        for i, place, forms_of_row in zip(asked, at, choices, strict=True)
        for forms in forms_of_row
    ]
    logprobs = iter(token_logprobs(tested.model, scored, f"{tested.spec.name}: choices"))
    out = {}
    for i in asked:
        texts = rows[i]["choices"]
        chances = torch.stack([next(logprobs).sum() for _ in texts]).softmax(0)  # (C,)
        best = int(chances.argmax())
        out[i] = (float(chances[best]), texts[best] == rows[i]["answer"])
    return out


def encode_choices(
    tested: ModelUnderTest, choices: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of each choice at the start of an answer and inside it (after a space)."""
    inside = [encode_text(tested.tokenizer, " " + choice) for choice in choices]
    if not tested.spec.chat:  # "Answer:" is followed by a space
        return [(ids, ids) for ids in inside]
    first = [encode_text(tested.tokenizer, choice) for choice in choices]
    return list(zip(first, inside, strict=True))


@torch.inference_mode()
def places(
    tested: ModelUnderTest,
    answers: Sequence[Answer],
    choices: Sequence[list[tuple[list[int], list[int]]]],
) -> list[int]:
    """The number of answer tokens before the place where a choice is likeliest, per answer."""
    rows = [
        ScoringRequest(answer.prompt_ids + answer.ids, len(answer.prompt_ids)) for answer in answers
    ]
    out = [0] * len(rows)
    for chosen in batches(rows, vocab_size(tested.model)):
        logits = row_logits(tested.model, [rows[i] for i in chosen])
        for i, line in zip(chosen, logits, strict=True):
            own = line.float().softmax(-1)  # (T, V)
            ready = own[:, sorted({inside[0] for _, inside in choices[i]})].sum(-1)  # (T,)
            ready[0] = own[0, sorted({start[0] for start, _ in choices[i]})].sum()
            out[i] = int(ready.argmax())
    return out

"""KL divergence of a model from a reference model, per answer, in nats.

Answers are sampled from the model at temperature 1 (greedy answers would bias the estimate), and
the exact divergence of the two next-token distributions is summed over their tokens. The estimate
has the same mean as the usual sum of log p - log r, less variance, and is never negative (Amini et
al. 2025, Better Estimation of the KL Divergence Between Language Models, arXiv:2504.10637). Cost:
one generation and two forward passes, one of each model.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.evaluation.model_under_test import ModelUnderTest
from hfllm.inference.logits import batches, row_logits, vocab_size
from hfllm.inference.prompts import Prompt
from hfllm.modeling.batching import ScoringRequest


def check_same_vocabulary(
    ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, names: tuple[str, str]
) -> None:
    """Check that two models' next-token distributions are over the same tokens.

    Args:
        ours: tokenizer of the model under test.
        theirs: tokenizer of the reference model.
        names: names of the two models, for the message.

    Raises:
        ValueError: the vocabularies differ.
    """
    if ours.get_vocab() != theirs.get_vocab():
        raise ValueError(
            f"no KL between {names[0]!r} and {names[1]!r}: their tokenizers differ; "
            "set another `reference`, or leave it out"
        )


def sampled_kl(
    tested: ModelUnderTest, reference: PreTrainedModel, prompts: list[Prompt], max_new_tokens: int
) -> list[float]:
    """KL(model || reference) in nats of one sampled answer per prompt.

    Args:
        tested: the model under test.
        reference: a model over the same tokens (check_same_vocabulary).
        prompts: the prompts; empty answers are left out.
        max_new_tokens: tokens that an answer may have.

    Returns:
        a value per answer; their mean estimates the KL divergence.
    """
    label = f"{tested.spec.name}: KL"
    answers = tested.generator.answer(prompts, max_new_tokens, temperature=1.0, label=label)
    rows = [ScoringRequest(a.prompt_ids + a.ids, len(a.prompt_ids)) for a in answers if a.ids]
    return kl(tested.model, reference, rows)


@torch.inference_mode()
def kl(
    model: PreTrainedModel, reference: PreTrainedModel, rows: list[ScoringRequest]
) -> list[float]:
    """KL(model's next token || reference's) in nats, summed over ids[start:] of each row."""
    out = [0.0] * len(rows)
    for chosen in batches(rows, vocab_size(model)):
        batch = [rows[i] for i in chosen]
        pairs = zip(row_logits(model, batch), row_logits(reference, batch), strict=True)
        for i, (ours, theirs) in zip(chosen, pairs, strict=True):
            ours, theirs = ours.float().log_softmax(-1), theirs.float().log_softmax(-1)  # (K, V)
            # the vocabularies are equal, but embeddings may be padded to different sizes
            size = min(ours.shape[-1], theirs.shape[-1])
            ours, theirs = ours[:, :size], theirs[:, :size]
            out[i] = float((ours.exp() * (ours - theirs)).sum())
    return out

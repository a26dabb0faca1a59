"""Log-likelihoods of tokens given the tokens before them, in batches.

`token_scores` scores rows of token ids. Consecutive rows that share a prefix (the choices of one
question) are scored together by tree attention (fast_cpu/shared_context.py), which gave 1.6 to 2.3
times lm-eval's tokens/s on multiple choice (docs/benchmarks.md); the others, or with
HFLLM_SLOW=shared_context all, row by row (logits.py). `document_nats` cuts texts into windows with
context, for bits per byte. Context and continuation are tokenised as one text, as in lm-eval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.fast_cpu import is_on, shared_context
from hfllm.inference.logits import (
    MAX_BATCH_TOKENS,
    MAX_LOGITS,
    ScoringRequest,
    batches,
    row_logits,
    vocab_size,
)
from hfllm.inference.progress import track
from hfllm.inference.prompts import first_ids, positions
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.separators import start_ids

MAX_WINDOW_TOKENS = 2048


class TokenScores(NamedTuple):
    """Scores of a row's K scored tokens, on the CPU."""

    logprobs: torch.Tensor  # (K,) float32, natural logarithm
    greedy: torch.Tensor  # (K,) bool: whether the token is the argmax

    def total(self) -> float:
        """Log-likelihood of the row's scored tokens, in nats."""
        return float(self.logprobs.double().sum())


def token_scores(
    model: PreTrainedModel, rows: Sequence[ScoringRequest], label: str = "scoring"
) -> list[TokenScores]:
    """Score ids[start:] of each row.

    Args:
        model: a causal LM in eval mode.
        rows: token ids, and where scoring starts.
        label: name of the progress bar.

    Returns:
        One `TokenScores` per row, in the rows' order.
    """
    groups = _tree_groups(model, rows, label) if is_on("shared_context") else []
    with track(len(rows), label, "rows") as done:
        found = dict(_score_trees(model, rows, groups, done))
        alone = [i for i in range(len(rows)) if i not in found]
        found |= dict(_score_row_by_row(model, rows, alone, done))
    return [found[i] for i in range(len(rows))]


def _tree_groups(
    model: PreTrainedModel, rows: Sequence[ScoringRequest], label: str
) -> list[list[int]]:
    """Groups of row indices to score as trees; [] where the model does not support it."""
    limit = positions(model)
    groups = [
        members
        for members in shared_context.prefix_groups(rows)
        if max(len(rows[i].ids) for i in members) <= limit
        and _fits(model, [rows[i] for i in members])
    ]
    if not groups:
        return []
    grouped = [[rows[i] for i in group] for group in groups]
    longest = max((g[0].ids[: shared_context.common_prefix(g)] for g in grouped), key=len)
    if shared_context.supports_tree_attention(model, longest, limit):
        return groups
    print(
        f"{label}: the model supports no tree attention; choices are scored one by one", flush=True
    )
    return []


def _fits(model: PreTrainedModel, rows: Sequence[ScoringRequest]) -> bool:
    """Whether a group as one tree is within a batch's tokens and logits."""
    shared = shared_context.common_prefix(rows)
    tokens = shared + sum(len(row.ids) - shared for row in rows)
    scored = sum(len(row.ids) - row.start for row in rows)
    return tokens <= MAX_BATCH_TOKENS and scored * vocab_size(model) <= MAX_LOGITS


def _score_row_by_row(
    model: PreTrainedModel,
    rows: Sequence[ScoringRequest],
    numbers: list[int],
    done: Callable[[int], Any],
) -> Iterator[tuple[int, TokenScores]]:
    """Yield (row index, its scores), each row scored alone."""
    for batch in batches([rows[i] for i in numbers], vocab_size(model)):
        chosen = [numbers[i] for i in batch]
        logits = row_logits(model, [rows[i] for i in chosen])
        for i, picked in zip(chosen, logits, strict=True):
            yield i, score(picked, rows[i].ids[rows[i].start :])
        done(len(chosen))


def _score_trees(
    model: PreTrainedModel,
    rows: Sequence[ScoringRequest],
    groups: list[list[int]],
    done: Callable[[int], Any],
) -> Iterator[tuple[int, TokenScores]]:
    """Yield (row index, its scores), each group of rows scored as a tree."""
    trees = [shared_context.tree_of([rows[i] for i in members]) for members in groups]
    for batch in shared_context.batches(trees, max(1, MAX_LOGITS // vocab_size(model))):
        logits = shared_context.tree_logits(model, [trees[t] for t in batch])
        scores = score(logits, [target for t in batch for target in trees[t].targets])
        members = [i for t in batch for i in groups[t]]
        sizes = [size for t in batch for size in trees[t].sizes]
        parts = zip(scores.logprobs.split(sizes), scores.greedy.split(sizes), strict=True)
        for i, part in zip(members, parts, strict=True):
            yield i, TokenScores(*part)
        done(len(members))


def score(logits: torch.Tensor, targets: list[int]) -> TokenScores:
    """Scores of K target tokens by the logits (K, V) that predict them."""
    target = torch.tensor(targets, device=logits.device)  # (K,)
    nll = torch.nn.functional.cross_entropy(logits.float(), target, reduction="none")
    return TokenScores(-nll.cpu(), (logits.argmax(-1) == target).cpu())


def token_logprobs(
    model: PreTrainedModel, rows: Sequence[ScoringRequest], label: str = "scoring"
) -> list[torch.Tensor]:
    """Natural log-probabilities of ids[start:] of each row.

    Args:
        model: a causal LM in eval mode.
        rows: token ids, and where scoring starts.
        label: name of the progress bar.

    Returns:
        (K,) float32 on the CPU for each row, in the rows' order.
    """
    return [scores.logprobs for scores in token_scores(model, rows, label)]


def windows(ids: list[int], size: int, overlap: int) -> Iterator[ScoringRequest]:
    """Cut a long row into overlapping windows; every token but the first is scored in exactly one.

    Args:
        ids: token ids of any length.
        size: tokens of a window.
        overlap: tokens of context before the first scored one, 1 <= overlap < size.
    """
    assert 0 < overlap < size, (overlap, size)
    begin, scored = 0, 1
    while scored < len(ids):
        end = min(begin + size, len(ids))
        yield ScoringRequest(ids[begin:end], scored - begin)
        begin, scored = end - overlap, end


def document_nats(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    window_tokens: int | None = None,
    label: str = "bits per byte",
) -> list[float]:
    """Negative log-likelihood of each text in nats: every token of the text, without the end.

    Before it stands what stands before a document in training (tokenization/separators.py).

    A text longer than a window is cut with a quarter of a window as context; each token is counted
    once.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        texts: plain texts.
        window_tokens: None: the model's positions, at most MAX_WINDOW_TOKENS.
        label: name of the progress bar.

    Raises:
        ValueError: the tokenizer has neither bos nor eos to precede the first token.
    """
    start = first_ids(tokenizer)
    if not start:
        raise ValueError(
            "the tokenizer has neither bos nor eos: nothing precedes a text's first token"
        )
    size = min(window_tokens or MAX_WINDOW_TOKENS, positions(model))
    rows, owner = [], []
    for number, text in enumerate(texts):
        for row in windows(start + encode_text(tokenizer, text), size, max(1, size // 4)):
            rows.append(row)
            owner.append(number)
    nats = [0.0] * len(texts)
    for number, logprobs in zip(owner, token_logprobs(model, rows, label), strict=True):
        nats[number] -= float(logprobs.double().sum())
    return nats


def continuation(context: list[int], ids: list[int], max_positions: int) -> ScoringRequest:
    """A row that scores a continuation; the context is cut on the left to fit.

    Args:
        context: token ids before the continuation, at least one.
        ids: token ids to score.
        max_positions: of the model, in tokens.

    Raises:
        ValueError: the continuation alone exceeds the positions.
    """
    room = max_positions - len(ids)
    if room < 1:
        raise ValueError(
            f"a continuation of {len(ids):,} tokens exceeds the model's {max_positions:,} positions"
        )
    kept = context[-room:]
    return ScoringRequest(kept + ids, len(kept))


def split_continuation(
    tokenizer: PreTrainedTokenizerBase, context: str, text: str
) -> tuple[list[int], list[int]]:
    """Token ids of context and continuation, cut from the encoding of both as one text.

    Trailing white space of the context goes to the continuation, because BPE merges it with the
    following word. Source: lm-eval, `_encode_pair`.

    Args:
        tokenizer: of the model that scores.
        context: text before the continuation; may be empty.
        text: the continuation.
    """
    bare = context.rstrip()
    whole = encode_text(tokenizer, context + text)
    cut = min(len(encode_text(tokenizer, bare)), len(whole) - 1)
    return (start_ids(tokenizer) + whole[:cut]) or first_ids(tokenizer), whole[cut:]

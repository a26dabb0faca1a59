"""Log-likelihoods: of tokens given what stands before them, in batches, each token once.

Rows with a beginning in common are scored in one pass over it (shared_context.py), others alone
(logits.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfllm.fast_cpu import shared_context
from hfllm.inference.logits import (
    MAX_BATCH_TOKENS,
    MAX_LOGITS,
    ScoringRequest,
    batches,
    row_logits,
    vocab_size,
)
from hfllm.inference.progress import track
from hfllm.inference.prompts import first_ids, positions, start_ids
from hfllm.tokenization.encode import encode_text

MAX_WINDOW_TOKENS = 2048
MIN_SHARED, MAX_MEMBERS = 8, 32  # tokens of a beginning, rows behind it: else it is not shared


class TokenScores(NamedTuple):
    """Of a row's scored tokens, on CPU: natural log-probabilities, and whether none is likelier."""

    logprobs: torch.Tensor  # (K,) float32
    greedy: torch.Tensor  # (K,) bool

    def total(self) -> float:
        """Log-likelihood of the row's scored tokens, in nats."""
        return float(self.logprobs.double().sum())


def token_scores(
    model: PreTrainedModel, rows: Sequence[ScoringRequest], label: str = "scoring"
) -> list[TokenScores]:
    """Score ids[start:] of each row; the answer is in the rows' order.

    Rows that begin alike are scored in one pass over that, where the model lends itself to it.
    """
    limit = positions(model)
    together = [
        members
        for members in prefix_groups(rows)
        if max(len(rows[i].ids) for i in members) <= limit
        and _fits(model, [rows[i] for i in members])
    ]
    if together:
        groups = [[rows[i] for i in members] for members in together]
        longest = max((g[0].ids[: shared_context.common_beginning(g)] for g in groups), key=len)
        if not shared_context.lends_itself(model, longest, limit):
            print(f"{label}: the model takes no shared context, each choice alone", flush=True)
            together = []
    with track(len(rows), label, "rows") as done:
        found = dict(_scored_together(model, rows, together, done))
        alone = [i for i in range(len(rows)) if i not in found]
        found |= dict(_scored_alone(model, rows, alone, done))
    return [found[i] for i in range(len(rows))]


def prefix_groups(rows: Sequence[ScoringRequest]) -> list[list[int]]:
    """Numbers of neighbouring rows that are worth one pass over what they begin with."""
    groups: list[list[int]] = []
    alike = _same_context  # what joins the group at hand
    for i, row in enumerate(rows):
        last = groups[-1] if groups else []
        if len(last) == 1:
            alike = _same_context if _same_context(rows[last[0]], row) else _half_alike
        if last and len(last) < MAX_MEMBERS and alike(rows[last[0]], row):
            last.append(i)
        else:
            groups.append([i])
    return [members for members in groups if len(members) > 1]


def _same_context(one: ScoringRequest, other: ScoringRequest) -> bool:
    """The choices of one question."""
    context = one.ids[: one.start]
    return len(context) >= MIN_SHARED and context == other.ids[: other.start]


def _half_alike(one: ScoringRequest, other: ScoringRequest) -> bool:
    """Half of each row in common, and not of a few tokens: WinoGrande's pairs."""
    shared = shared_context.common_beginning([one, other])
    return shared >= MIN_SHARED and 2 * shared >= max(len(one.ids), len(other.ids))


def _fits(model: PreTrainedModel, rows: Sequence[ScoringRequest]) -> bool:
    """Whether a group is small enough to be one row of tokens."""
    shared = shared_context.common_beginning(rows)
    tokens = shared + sum(len(row.ids) - shared for row in rows)
    scored = sum(len(row.ids) - row.start for row in rows)
    return tokens <= MAX_BATCH_TOKENS and scored * vocab_size(model) <= MAX_LOGITS


def _scored_alone(
    model: PreTrainedModel,
    rows: Sequence[ScoringRequest],
    numbers: list[int],
    done: Callable[[int], Any],
) -> Iterator[tuple[int, TokenScores]]:
    """Each row for itself: (its number, its scores)."""
    for batch in batches([rows[i] for i in numbers], vocab_size(model)):
        chosen = [numbers[i] for i in batch]
        logits = row_logits(model, [rows[i] for i in chosen])
        for i, picked in zip(chosen, logits, strict=True):
            yield i, score(picked, rows[i].ids[rows[i].start :])
        done(len(chosen))


def _scored_together(
    model: PreTrainedModel,
    rows: Sequence[ScoringRequest],
    groups: list[list[int]],
    done: Callable[[int], Any],
) -> Iterator[tuple[int, TokenScores]]:
    """Rows that begin alike, group by group: (a row's number, its scores)."""
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
    """Scores of targets by the logits (K, V) that predict them."""
    target = torch.tensor(targets, device=logits.device)  # (K,)
    nll = torch.nn.functional.cross_entropy(logits.float(), target, reduction="none")
    return TokenScores(-nll.cpu(), (logits.argmax(-1) == target).cpu())


def token_logprobs(
    model: PreTrainedModel, rows: Sequence[ScoringRequest], label: str = "scoring"
) -> list[torch.Tensor]:
    """Natural log-probabilities of ids[start:] of each row, float32 on CPU, in the rows' order."""
    return [scores.logprobs for scores in token_scores(model, rows, label)]


def windows(ids: list[int], size: int, overlap: int) -> Iterator[ScoringRequest]:
    """Cut a long row into windows; every token but the first is scored in exactly one.

    A window begins `overlap` (at least 1) tokens before the first one it scores, as context.
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
    """Negative log-likelihood of each text in nats: bos, then every token of the text, no eos.

    Texts longer than the window (the model's positions, at most 2,048) are cut with a quarter of
    it as context; no token is lost or counted twice.
    """
    start = first_ids(tokenizer)
    if not start:
        raise ValueError(
            "the tokenizer has neither bos nor eos: nothing stands before a text's first token"
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
    """A row that scores `ids` after `context`, cut on the left to fit the model's positions."""
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
    """Token ids of context and continuation as they come when encoded as one text.

    White space at the end of the context moves to the continuation, because a BPE joins it to the
    word that follows (as lm-eval does).
    """
    bare = context.rstrip()
    whole = encode_text(tokenizer, context + text)
    cut = min(len(encode_text(tokenizer, bare)), len(whole) - 1)
    return (start_ids(tokenizer) + whole[:cut]) or first_ids(tokenizer), whole[cut:]

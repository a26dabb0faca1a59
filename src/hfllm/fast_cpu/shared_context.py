"""Tree attention for likelihoods: the prefix that several rows share is run through the model once.

The rows (a question's choices, each after the same context) are laid out as one row of tokens: the
prefix, then the rest of each row, a branch. A branch attends to the prefix and to itself, not to
other branches (an additive mask over pairs of positions), and its position ids go on from the
prefix. Four choices of 5 tokens after 40 cost 40 + 4 x 5 tokens instead of 4 x 45:

    row 0  A B C d e        ids        A B C d e f g
    row 1  A B C f g        positions  0 1 2 3 4 3 4
                            segments   0 0 0 1 1 2 2     (a row's last token is a target only)

The head is applied at the positions that score a token and nowhere else. Source of the method: tree
attention of speculative decoding, Miao et al. 2023 (SpecInfer, arXiv:2305.09781).

Not every architecture supports such a mask (sliding windows, recurrent states, relative distances
counted by index), and some change their logits after the head. So `supports_tree_attention` reads
the config, compares the head's product with the model's own logits, and scores two continuations
both ways; where they differ by more than rounding, the caller scores row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from hfllm.fast_cpu.shared_prefix import has_full_attention
from hfllm.fast_cpu.trained_head import has_plain_head
from hfllm.modeling.batching import MAX_BATCH_TOKENS, ScoringRequest, long_first
from hfllm.recipe.errors import raise_out_of_memory

MIN_SHARED = 8  # tokens: a shorter prefix is not worth a tree
MAX_MEMBERS = 32  # rows of a tree
PADDING = -1  # the segment of padding: no token attends to it
# Largest difference of a log-probability that another order of summation explains, in nats.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15}


@torch.inference_mode()
def supports_tree_attention(
    model: PreTrainedModel, context: Sequence[int], max_positions: int
) -> bool:
    """Whether two continuations of a context score the same in one tree as each alone.

    Args:
        model: a causal LM in eval mode.
        context: token ids, at least one; the longest shared prefix is the hardest test.
        max_positions: of the model; the context is cut to leave room for 3 tokens.
    """
    if not (has_full_attention(model.config.get_text_config()) and has_plain_head(model)):
        return False
    start = list(context[: max(1, max_positions - 3)])
    tail = (start[::-1] * 3)[:3]
    other = next((token for token in start if token != tail[0]), int(tail[0] == 0))
    tails = [tail, [other, *tail[:2]]]  # different first tokens, or the mask would not be tested
    whole = [start + tail for tail in tails]
    try:
        tree = tree_of([ScoringRequest(ids, len(start)) for ids in whole])
        together = tree_logits(model, [tree]).log_softmax(-1)
        alone = model(input_ids=torch.tensor(whole, device=model.device), use_cache=False).logits
    except Exception as error:  # noqa: BLE001 - however it fails with such a mask, rows are scored alone
        raise_out_of_memory(error)
        return False
    apart = together - alone[:, len(start) - 1 : -1].log_softmax(-1).flatten(0, 1)
    at = [token for tail in tails for token in tail]
    tolerance = TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16])
    return bool(apart[range(len(at)), at].abs().max() <= tolerance)


class Tree(NamedTuple):
    """Rows with a shared prefix as one row of N tokens: the prefix, then a branch for each row.

    A row's last token is a target only and takes no position. A target may lie in the prefix, too.
    """

    ids: list[int]  # (N,)
    positions: list[int]  # (N,) position ids
    segments: list[int]  # (N,) 0: the prefix; k: the branch of row k - 1
    scored_from: list[int]  # indices into ids whose logits score a token, in the order of `targets`
    targets: list[int]  # scored tokens, row after row
    sizes: list[int]  # scored tokens of each row


def common_prefix(rows: Sequence[ScoringRequest]) -> int:
    """How many tokens all rows begin with, less than any of their lengths."""
    first, *others = [row.ids[:-1] for row in rows]
    length = min(map(len, (first, *others)))
    return next((n for n in range(length) if any(o[n] != first[n] for o in others)), length)


def prefix_groups(rows: Sequence[ScoringRequest]) -> list[list[int]]:
    """Indices of consecutive rows that are worth one pass over their shared prefix.

    Two rows start a group if they have the same context (a question's choices), or half of each in
    common; the others join by the same rule, at most MAX_MEMBERS in all.
    """
    groups: list[list[int]] = []
    alike = _same_context  # the rule of the current group
    for i, row in enumerate(rows):
        last = groups[-1] if groups else []
        if len(last) == 1:
            alike = _same_context if _same_context(rows[last[0]], row) else _half_in_common
        if last and len(last) < MAX_MEMBERS and alike(rows[last[0]], row):
            last.append(i)
        else:
            groups.append([i])
    return [members for members in groups if len(members) > 1]


def _same_context(one: ScoringRequest, other: ScoringRequest) -> bool:
    """Choices of one question: the same context of at least MIN_SHARED tokens."""
    context = one.ids[: one.start]
    return len(context) >= MIN_SHARED and context == other.ids[: other.start]


def _half_in_common(one: ScoringRequest, other: ScoringRequest) -> bool:
    """A common prefix of at least MIN_SHARED tokens and half of either row: WinoGrande's pairs."""
    shared = common_prefix([one, other])
    return shared >= MIN_SHARED and 2 * shared >= max(len(one.ids), len(other.ids))


def tree_of(rows: Sequence[ScoringRequest]) -> Tree:
    """Lay out rows that share a prefix of at least one token as a tree."""
    shared = common_prefix(rows)
    assert shared, "rows without a common prefix"
    ids = rows[0].ids[:shared]
    positions, segments = list(range(shared)), [0] * shared
    scored_from: list[int] = []
    for number, row in enumerate(rows, start=1):
        begin, rest = len(ids), row.ids[shared:-1]
        ids = ids + rest
        positions += range(shared, shared + len(rest))
        segments += [number] * len(rest)
        places = [*range(shared), *range(begin, len(ids))]  # of the row's tokens but the last
        scored_from += places[row.start - 1 :]
    targets = [token for row in rows for token in row.ids[row.start :]]
    return Tree(
        ids, positions, segments, scored_from, targets, [len(r.ids) - r.start for r in rows]
    )


def batches(trees: Sequence[Tree], max_scored: int) -> Iterator[list[int]]:
    """Indices of trees in batches of at most MAX_BATCH_TOKENS tokens and `max_scored` targets.

    Longest first; a tree beyond either bound is a batch of its own.
    """

    def fits(batch: list[int]) -> bool:
        tokens = len(batch) * len(trees[batch[0]].ids)
        scored = sum(len(trees[i].targets) for i in batch)
        return tokens <= MAX_BATCH_TOKENS and scored <= max_scored

    return long_first([len(tree.ids) for tree in trees], fits)


@torch.inference_mode()
def tree_logits(model: PreTrainedModel, trees: Sequence[Tree]) -> torch.Tensor:
    """Logits (N, V) that score the N targets of all trees, in order, from one forward pass."""
    width = max(len(tree.ids) for tree in trees)

    def padded(rows: list[list[int]], value: int) -> torch.Tensor:
        full = [row + [value] * (width - len(row)) for row in rows]
        return torch.tensor(full, device=model.device)

    segments = padded([tree.segments for tree in trees], PADDING)  # (B, T)
    place = torch.arange(width, device=model.device)
    past = place[None, :] <= place[:, None]  # (T, T)
    own = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])  # (B, T, T)
    mask = torch.zeros(own.shape, dtype=model.dtype, device=model.device)
    mask.masked_fill_(~(past & own), torch.finfo(model.dtype).min)
    decoder: Any = model.get_decoder()
    hidden = decoder(
        input_ids=padded([tree.ids for tree in trees], 0),
        position_ids=padded([tree.positions for tree in trees], 0),
        attention_mask=mask[:, None],
        use_cache=False,
    ).last_hidden_state  # (B, T, H)
    kept = torch.cat([hidden[b, tree.scored_from] for b, tree in enumerate(trees)])  # (N, H)
    return model.get_output_embeddings()(kept)

"""The choices of one question in one pass: what they begin with is run through the model once.

A row of tokens holds the common beginning and then what is left of every choice, which sees the
beginning and itself but not its siblings (a mask over pairs of positions) and stands at the
positions that follow. Four choices behind 40 tokens cost 40 + 4 x 5 tokens instead of 4 x 45. The
head is applied where a token is scored and nowhere else.

Not every architecture takes such a mask as it is meant (a window over the past, a recurrent state,
distances by place in the row), and some change their logits behind the head. So a window is looked
for in the config, the head is compared with the model's own logits, and two continuations are
scored both ways; where anything differs by more than rounding, all are scored one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from hfllm.fast_cpu.shared_prefix import sees_everything
from hfllm.fast_cpu.trained_head import plain_head
from hfllm.modeling.batching import MAX_BATCH_TOKENS, ScoringRequest, long_first

PADDING = -1
# What the order of sums may change in a log-probability.
SLACK = {torch.float32: 1e-3, torch.bfloat16: 0.15}


@torch.inference_mode()
def lends_itself(model: PreTrainedModel, context: Sequence[int], limit: int) -> bool:
    """Whether continuations of this context get the same scores in one pass as each alone."""
    if not (sees_everything(model.config.get_text_config()) and plain_head(model)):
        return False
    start = list(context[: max(1, limit - 3)])
    tail = (start[::-1] * 3)[:3]
    other = next((token for token in start if token != tail[0]), int(tail[0] == 0))
    tails = [tail, [other, *tail[:2]]]  # they part at once, or the mask would not be tried
    whole = [start + tail for tail in tails]
    try:
        tree = tree_of([ScoringRequest(ids, len(start)) for ids in whole])
        together = tree_logits(model, [tree]).log_softmax(-1)
        alone = model(input_ids=torch.tensor(whole, device=model.device), use_cache=False).logits
    except (TypeError, ValueError, AttributeError, RuntimeError):  # it takes no such mask
        return False
    apart = together - alone[:, len(start) - 1 : -1].log_softmax(-1).flatten(0, 1)
    at = [token for tail in tails for token in tail]
    slack = SLACK.get(model.dtype, SLACK[torch.bfloat16])
    return bool(apart[range(len(at)), at].abs().max() <= slack)


class Tree(NamedTuple):
    """What rows begin with and the rest of each behind it, as one row of tokens.

    A row's last token is scored but needs no place; a scored token may lie in the beginning, too.
    """

    ids: list[int]
    positions: list[int]
    segments: list[int]  # 0: the common beginning; k: the rest of row k - 1
    scored_from: list[int]  # places whose logits score a token, in the order of `targets`
    targets: list[int]
    sizes: list[int]  # scored tokens of each row


def common_beginning(rows: Sequence[ScoringRequest]) -> int:
    """How many tokens all rows begin with; of each row at least the last is left over."""
    first, *others = [row.ids[:-1] for row in rows]
    length = min(map(len, (first, *others)))
    return next((n for n in range(length) if any(o[n] != first[n] for o in others)), length)


def tree_of(rows: Sequence[ScoringRequest]) -> Tree:
    """Lay out what rows begin with (at least one token in common) and the rest of each."""
    shared = common_beginning(rows)
    assert shared, "rows without a beginning in common"
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
    """Numbers of trees, long ones first, in batches bounded in tokens and in scored positions."""

    def fits(batch: list[int]) -> bool:
        tokens = len(batch) * len(trees[batch[0]].ids)
        scored = sum(len(trees[i].targets) for i in batch)
        return tokens <= MAX_BATCH_TOKENS and scored <= max_scored

    return long_first([len(tree.ids) for tree in trees], fits)


@torch.inference_mode()
def tree_logits(model: PreTrainedModel, trees: Sequence[Tree]) -> torch.Tensor:
    """Logits at the scored places of all trees, one after the other, (N, V)."""
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

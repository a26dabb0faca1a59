"""The order in which rows of several sources are trained: a pure function of (seed, step).

Two choices per step. The source, by the chairman assignment of Tijdeman (1980): among the sources
that are not ahead of their share, the one whose next row is due first; so after any number of steps
every source has had its share to within one row. The row of that source: each source is shuffled
again in every epoch, seeded with (seed, source, epoch).

The order does not depend on the total, on earlier state or on the number of processes: a longer run
begins with the shorter run's order, a resumed run continues it, and adding a source does not
reshuffle the rows of another. Train with a sequential sampler
(`train_sampling_strategy="sequential"`). Cost: about 1 us per row and source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import torch

from hfllm.data.packing.dataset import PackedSplit
from hfllm.data.packing.folders import check_folders, folder_name
from hfllm.data.reading.examples import label
from hfllm.recipe.config import ChatDataConfig, SourceConfig


def mixture_order(
    sizes: Mapping[str, int],
    weights: Mapping[str, float] | None,
    total_rows: int,
    seed: int,
) -> np.ndarray:
    """Return (source index, row index) per step, int64 (total_rows, 2).

    Args:
        sizes: rows of each source, in the order of the source indices.
        weights: by source, need not sum to 1; None: by size (every row once in an epoch).
        total_rows: rows of the whole training.
        seed: of the shuffles.

    Raises:
        ValueError: a weight without a source, a source without a weight, or a weighted source
            without rows.
    """
    shares = _shares(sizes, weights)
    sources = _assign(shares, total_rows)  # (N,)
    order = np.empty((total_rows, 2), np.int64)  # (N, 2)
    order[:, 0] = sources
    for i, (name, size) in enumerate(sizes.items()):
        steps = np.flatnonzero(sources == i)
        order[steps, 1] = _rows(name, size, len(steps), seed)
    return order


def epochs(order: np.ndarray, sizes: Mapping[str, int]) -> dict[str, float]:
    """Epochs over each source: rows drawn / rows that it has."""
    drawn = np.bincount(order[:, 0], minlength=len(sizes))  # (sources,)
    return {name: float(drawn[i] / max(1, size)) for i, (name, size) in enumerate(sizes.items())}


class MixtureDataset(torch.utils.data.Dataset):
    """Several map-style data sets, mixed in the order of `mixture_order`."""

    def __init__(
        self,
        datasets: Mapping[str, Sequence[Any]],
        weights: Mapping[str, float] | None,
        total_rows: int,
        seed: int,
    ) -> None:
        """Compute the order.

        Args:
            datasets: by name, for example `PackedDataset`s.
            weights: as in `mixture_order`, which raises ValueError for wrong ones.
            total_rows: rows of the whole training.
            seed: of the shuffles.
        """
        self.datasets = list(datasets.values())
        sizes = {name: len(dataset) for name, dataset in datasets.items()}
        self.order = mixture_order(sizes, weights, total_rows, seed)
        self.epochs = epochs(self.order, sizes)

    def __len__(self) -> int:
        """Rows of the whole training, repetitions included."""
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        """The row of step `index`."""
        source, row = self.order[index]
        return self.datasets[source][int(row)]


def mixture(
    rows: PackedSplit, sources: list[SourceConfig], total_rows: int, seed: int
) -> MixtureDataset:
    """`total_rows` rows of the packed `rows`, mixed by the weights of `sources` and shuffled."""
    weights = shares(rows, sources) if any(s.weight is not None for s in sources) else None
    return _mixed(rows, sources, weights, total_rows, seed)


def chat_mixture(
    rows: PackedSplit, data: ChatDataConfig, total_rows: Callable[[int], int], seed: int
) -> MixtureDataset:
    """`mixture` of chats, with a share of documents replayed among them if `data.replay` is set.

    Args:
        rows: the packed chats and documents.
        data: gives the sources, their weights, and `replay_share` in (0, 1).
        total_rows: rows of one epoch -> rows of the whole training; an epoch is one over the
            chats.
        seed: of the shuffles.
    """
    if not data.replay:
        return mixture(rows, data.mixture, total_rows(rows.total), seed)
    in_epoch = sum(len(rows.sources[folder_name(label(s))]) for s in data.mixture) / (
        1 - data.replay_share
    )
    chats, replay = shares(rows, data.mixture), shares(rows, data.replay)
    weights = {name: (1 - data.replay_share) * share for name, share in chats.items()}
    weights |= {name: data.replay_share * share for name, share in replay.items()}
    total = total_rows(round(in_epoch))
    return _mixed(rows, [*data.mixture, *data.replay], weights, total, seed)


def shares(rows: PackedSplit, sources: list[SourceConfig]) -> dict[str, float]:
    """Share of each source by folder name, sum 1: by weight, or by rows if no weight is set."""
    names = [folder_name(label(source)) for source in sources]
    missing = [n for n, source in zip(names, sources, strict=True) if source.weight is None]
    if missing and len(missing) < len(sources):
        raise ValueError(
            f"data.mixture: give every source a weight or none; without one: {missing}"
        )
    size = {n: len(rows.sources[n]) for n in missing}
    parts = [s.weight if s.weight else size[n] for n, s in zip(names, sources, strict=True)]
    return {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}


def _mixed(
    rows: PackedSplit,
    sources: list[SourceConfig],
    weights: dict[str, float] | None,
    total_rows: int,
    seed: int,
) -> MixtureDataset:
    check_folders("data.mixture", map(label, sources))
    sources_by_name: Any = rows.sources
    return MixtureDataset(sources_by_name, weights, total_rows, seed)


def _shares(sizes: Mapping[str, int], weights: Mapping[str, float] | None) -> list[float]:
    if weights is None:
        weights = {name: float(size) for name, size in sizes.items()}
    if strange := sorted(set(weights) ^ set(sizes)):
        raise ValueError(
            f"data.mixture: {', '.join(strange)} has no weight or no rows; give every source a "
            f"weight or none (sources: {', '.join(sizes)})"
        )
    for name, weight in weights.items():
        if not (weight >= 0 and np.isfinite(weight)):
            raise ValueError(f"data.mixture: {name}: weight {weight} is not a number of at least 0")
        if weight > 0 and not sizes[name]:
            raise ValueError(f"data.mixture: {name} has weight {weight}, but no rows")
    total = sum(weights.values())
    if not total > 0:
        raise ValueError("data.mixture: the weights sum to 0; there is nothing to train on")
    return [weights[name] / total for name in sizes]


def _assign(shares: Sequence[float], total: int) -> np.ndarray:
    """Source per step, (total,): |rows of source i after t steps - t x share i| < 1 for every t."""
    active = [i for i, share in enumerate(shares) if share > 0]
    slack = 1 - 1 / max(1, 2 * len(active) - 2)
    counts = [0] * len(shares)
    due = [slack / shares[i] if i in active else np.inf for i in range(len(shares))]
    out = np.empty(total, np.int64)
    for t in range(1, total + 1):
        # Eligible: another row keeps the source less than `slack` ahead of its share.
        behind = [i for i in active if counts[i] + 1 - t * shares[i] <= slack + 1e-9]
        chosen = min(behind or active, key=due.__getitem__)
        out[t - 1] = chosen
        counts[chosen] += 1
        due[chosen] = (counts[chosen] + slack) / shares[chosen]
    return out


def _rows(name: str, size: int, count: int, seed: int) -> np.ndarray:
    """The first `count` rows of a source, one permutation per epoch  # (count,)."""
    if not count:
        return np.empty(0, np.int64)
    key = crc32(name.encode())
    total_epochs = -(-count // size)
    shuffled = [
        np.random.default_rng((seed, key, epoch)).permutation(size) for epoch in range(total_epochs)
    ]
    return np.concatenate(shuffled)[:count]

"""The privileged critic: a ridge baseline on what a program knows before an answer is whole.

A reward function may carry `prefix_features(prefix, **row) -> list[float]`: numbers about the
beginning of an answer, the same count each time (rewards.py: which kinds of constraints are open,
kept or broken for good). The policy does not see them, the critic does (asymmetric actor-critic,
Pinto et al. 2017, arXiv:1710.06542): a ridge regression on the rollouts before predicts returns
from them, and the critic's model learns what is left. A baseline of what stands before a token
leaves the mean of the policy's gradient as it is and takes noise from it: tokens behind a broken
constraint are not blamed.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from hfllm.rl.advantages import Reduce, alone

FORGETTING = 0.9  # of a rollout's weight with each that follows: the last ten count
PENALTY = 30.0  # ridge, in tokens; the constant is free, so that few data predict the mean
FILE, OLD_FILE = "privileged_critic.pt", "informed.pt"


class RidgeRegression:
    """Ridge regression of returns on features, with exponential forgetting.

    It holds the sums of the normal equations over the rollouts before, no rows.
    """

    def __init__(self) -> None:
        """No data yet: every prediction is 0."""
        self._sums: torch.Tensor | None = None  # (K + 1, K + 2), float64: x x^T beside x y

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Returns (B, T) of features (B, T, K); zeros before the first update."""
        if self._sums is None:
            return features.new_zeros(features.shape[:-1])
        if len(self._sums) != features.size(-1) + 1:
            raise ValueError(
                f"privileged_critic: it learned from {len(self._sums) - 1} features and is given "
                f"{features.size(-1)}: a reward function changed since the checkpoint, "
                f"remove its {FILE}"
            )
        gram, moment = self._sums[:, :-1], self._sums[:, -1]
        penalty = torch.full((len(gram),), PENALTY, dtype=torch.float64)
        penalty[0] = 1e-6
        weights = torch.linalg.solve(gram + penalty.diag(), moment)
        return _with_constant(features) @ weights.to(features)

    def update(
        self, features: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, reduce: Reduce
    ) -> None:
        """Learn from a rollout: (B, T, K), (B, T), (B, T); `reduce` sums over processes."""
        written = mask > 0
        x, y = _with_constant(features[written]), returns[written]
        sums = reduce(torch.cat([x.T @ x, (x.T @ y)[:, None]], dim=1)).double().cpu()
        self._sums = sums if self._sums is None else sums + FORGETTING * self._sums

    def state_dict(self) -> dict[str, torch.Tensor | None]:
        """The sums."""
        return {"sums": self._sums}

    def load_state_dict(self, state: dict[str, torch.Tensor | None]) -> None:
        """Take up the sums of a checkpoint."""
        self._sums = state["sums"]


def _with_constant(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones_like(features[..., :1]), features], dim=-1)


def prefixes(tokenizer: Any, ids: Sequence[int]) -> Iterator[str]:
    """The text before each token, special tokens left out."""
    backend, text = getattr(tokenizer, "backend_tokenizer", None), ""
    if backend is None:  # each prefix anew, quadratic in the answer's length
        yield from (tokenizer.decode(ids[:n], skip_special_tokens=True) for n in range(len(ids)))
        return
    stream = DecodeStream(skip_special_tokens=True)
    for token in ids:
        yield text
        text += stream.step(backend, token) or ""  # None: a character is not whole yet


class PrefixFeatures:
    """The `prefix_features` of one reward function, checked."""

    def __init__(self, name: str, function: Callable[..., list[float]]) -> None:
        """`name` is the reward function's."""
        self.name, self._function = name, function
        self._count: int | None = None  # K, from the first prefix on

    def of(self, texts: list[str], row: dict[str, Any]) -> torch.Tensor:
        """Features (T, K) of the T prefixes of a row's answer.

        Raises:
            ValueError: their count differs from that of other prefixes, or one is no number.
        """
        features = [self._function(text, **row) for text in texts]
        for text, some in zip(texts, features, strict=True):
            if self._count is None:
                self._count = len(some)
            if len(some) != self._count or any(x is None or not isfinite(x) for x in some):
                raise ValueError(
                    f"prefix_features of the reward function {self.name} gives {some} of {text!r}: "
                    f"give {self._count} numbers each time, 0.0 where one is unknown"
                )
        return torch.tensor(features, dtype=torch.float32)  # an answer has a token, so T > 0


def features_of(functions: Sequence[Any], names: Sequence[str]) -> list[PrefixFeatures]:
    """Those of the reward functions that have prefix_features.

    Raises:
        ValueError: a function has them under their old name, which would be ignored.
    """
    for function, name in zip(functions, names, strict=True):
        if getattr(function, "so_far", None):
            raise ValueError(
                f"the reward function {name} has `so_far`: rename it to `prefix_features`"
            )
    told = (getattr(function, "prefix_features", None) for function in functions)
    return [PrefixFeatures(name, f) for name, f in zip(names, told, strict=True) if f]


class PrivilegedCritic:
    """Predicts returns from prefix features; without any it predicts zeros and learns nothing."""

    def __init__(
        self,
        sources: Sequence[PrefixFeatures],
        tokenizer: Any,
        reduce: Reduce = alone,
        has_tools: bool = False,
    ) -> None:
        """Nothing is learned yet.

        Args:
            sources: of `features_of`, the same on every process.
            tokenizer: the policy's.
            reduce: sums a tensor over processes.
            has_tools: whether answers are pieced together from turns; then it is off.
        """
        self.sources = [] if has_tools else list(sources)
        self._tokenizer, self._reduce = tokenizer, reduce
        self._names = ", ".join(source.name for source in self.sources)
        self.regression = RidgeRegression()
        self.notes: list[str] = []  # for the manifest
        if self.sources:
            self.notes = [f"privileged_critic: it is told what {self._names} knows before the end"]
        elif sources:
            self.notes = ["privileged_critic: an answer with tools is no single text, it is off"]

    def observe(
        self, rows: Sequence[dict[str, Any]], ids: Sequence[list[int]], tokens: int
    ) -> torch.Tensor:
        """Features (B, T, K) before each token of the answers.

        Args:
            rows: of the data set, one an answer; their columns go to the functions.
            ids: the answers' tokens, without padding.
            tokens: T.
        """
        if not self.sources:
            return torch.zeros((len(ids), tokens, 0))
        return torch.stack([self._observe(*pair, tokens) for pair in zip(rows, ids, strict=True)])

    def _observe(self, row: dict[str, Any], ids: list[int], tokens: int) -> torch.Tensor:
        texts = list(prefixes(self._tokenizer, ids))
        features = torch.cat([source.of(texts, row) for source in self.sources], dim=1)
        return torch.nn.functional.pad(features, (0, 0, 0, tokens - len(ids)))  # (T, K)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Returns (B, T) of features (B, T, K); zeros before the first update."""
        return self.regression.predict(features)

    def update(self, features: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> None:
        """Learn a rollout's returns, less what the critic's model says: (B, T, K), (B, T), (B, T).

        Raises:
            ValueError: on all processes, where some have another count of features.
        """
        if self.sources:
            self._check_same_count(features)
            self.regression.update(features, returns, mask, self._reduce)

    def _check_same_count(self, features: torch.Tensor) -> None:
        k = features.size(-1)
        counts = torch.tensor([1.0, k, k**2], device=features.device)
        processes, total, squares = self._reduce(counts).tolist()
        if processes * squares != total**2:
            raise ValueError(
                f"prefix_features of {self._names}: the processes get another number of them each"
            )

    def save(self, folder: Path) -> None:
        """Keep the regression's sums in a checkpoint."""
        if self.sources:
            torch.save(self.regression.state_dict(), folder / FILE)

    def load(self, folder: Path) -> str | None:
        """Take up a checkpoint's sums; a note where there are none and it learns anew."""
        if not self.sources:
            return None
        file, old = folder / FILE, folder / OLD_FILE
        found = file if file.exists() else old
        saved = torch.load(found, weights_only=True) if found.exists() else {}
        if "sums" not in saved:
            return f"privileged_critic: nothing in {file}, it learns from its features anew"
        self.regression.load_state_dict(saved)
        return None

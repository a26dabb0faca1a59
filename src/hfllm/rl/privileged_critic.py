"""The privileged critic: a ridge regression of returns on features that the policy does not see.

A reward function may have `prefix_features(prefix, **row) -> list[float]`: numbers computed from
the beginning of an answer, the same count each time (rewards.py: which kinds of constraints are
open, kept or finally broken). Only the critic reads them (asymmetric actor-critic, Pinto et al.
2017, arXiv:1710.06542): the regression, fitted on earlier rollouts, predicts returns from them, and
the critic's model learns the residual. A baseline computed from the tokens before an action leaves
the expected policy gradient unchanged and reduces its variance: tokens after a broken constraint
get no negative advantage for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hfllm.rl.advantages import Reduce, single_process
from hfllm.rl.prefix_features import PrefixFeatures, prefixes

FORGETTING = 0.9  # a rollout's weight is multiplied by it at each later one: about ten count
PENALTY = 30.0  # ridge penalty, in tokens; not on the constant, so that few data give the mean
FILE, OLD_FILE = "privileged_critic.pt", "informed.pt"


class RidgeRegression:
    """Ridge regression of returns on features, with exponential forgetting.

    It stores the sums of the normal equations over earlier rollouts, no rows.
    """

    def __init__(self) -> None:
        """Start without data: every prediction is 0."""
        self._sums: torch.Tensor | None = None  # (K + 1, K + 2), float64: x x^T beside x y

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Predict returns (B, T) from features (B, T, K); zeros before the first update.

        Raises ValueError if K is not that of the data so far.
        """
        if self._sums is None:
            return features.new_zeros(features.shape[:-1])
        if len(self._sums) != features.size(-1) + 1:
            raise ValueError(
                f"privileged_critic: it learned from {len(self._sums) - 1} features and is given "
                f"{features.size(-1)}: a reward function changed since the checkpoint; "
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
        """Add a rollout to the sums.

        Args:
            features: (B, T, K).
            returns: (B, T).
            mask: (B, T), 1 on the tokens that count.
            reduce: sums a tensor over processes.
        """
        written = mask > 0
        x, y = _with_constant(features[written]), returns[written]
        sums = reduce(torch.cat([x.T @ x, (x.T @ y)[:, None]], dim=1)).double().cpu()
        self._sums = sums if self._sums is None else sums + FORGETTING * self._sums

    def state_dict(self) -> dict[str, torch.Tensor | None]:
        """{"sums": the sums, None before the first update}."""
        return {"sums": self._sums}

    def load_state_dict(self, state: dict[str, torch.Tensor | None]) -> None:
        """The inverse of `state_dict`."""
        self._sums = state["sums"]


def _with_constant(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.ones_like(features[..., :1]), features], dim=-1)


class PrivilegedCritic:
    """Predicts returns from prefix features; without any it predicts zeros and does not learn."""

    def __init__(
        self,
        sources: Sequence[PrefixFeatures],
        tokenizer: Any,
        reduce: Reduce = single_process,
        has_tools: bool = False,
    ) -> None:
        """Start without data.

        Args:
            sources: of `features_of`, the same on every process.
            tokenizer: the policy's.
            reduce: sums a tensor over processes.
            has_tools: True switches it off: with tools an answer consists of several turns.
        """
        self.sources = [] if has_tools else list(sources)
        self._tokenizer, self._reduce = tokenizer, reduce
        self._names = ", ".join(source.name for source in self.sources)
        self.regression = RidgeRegression()
        self.notes: list[str] = []  # for the manifest
        if self.sources:
            self.notes = [f"privileged_critic: it reads the prefix_features of {self._names}"]
        elif sources:
            self.notes = ["privileged_critic: off, an answer with tools is no single text"]

    def observe(
        self, rows: Sequence[dict[str, Any]], ids: Sequence[list[int]], tokens: int
    ) -> torch.Tensor:
        """Compute the features (B, T, K) before each token of the answers.

        Args:
            rows: B rows of the data set; their columns are arguments of `prefix_features`.
            ids: token ids of the B answers, without padding.
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
        """Predict returns (B, T) from features (B, T, K); zeros before the first update."""
        return self.regression.predict(features)

    def update(self, features: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> None:
        """Learn from a rollout.

        Args:
            features: (B, T, K), of `observe`.
            returns: (B, T), minus the values of the critic's model.
            mask: (B, T), 1 on the tokens that count.

        Raises:
            ValueError: on all processes, if K differs between them.
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
                f"prefix_features of {self._names}: their number differs between processes; return "
                "the same number for every row"
            )

    def save(self, folder: Path) -> None:
        """Save the regression's sums in a checkpoint's folder."""
        if self.sources:
            torch.save(self.regression.state_dict(), folder / FILE)

    def load(self, folder: Path) -> str | None:
        """Load the sums of a checkpoint; return a note if it has none and learning starts again."""
        if not self.sources:
            return None
        file, old = folder / FILE, folder / OLD_FILE
        found = file if file.exists() else old
        saved = torch.load(found, weights_only=True) if found.exists() else {}
        if "sums" not in saved:
            return f"privileged_critic: no sums in {file}, it starts to learn again"
        self.regression.load_state_dict(saved)
        return None

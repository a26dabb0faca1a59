"""Say once if the first rollouts can teach nothing: all rewards are equal, or no answer ended.

With equal rewards no answer is better than another (PPO's advantages are noise of the critic); one
that did not end pays `missing_eos_penalty` whatever it says. Neither is an error: later rollouts
may differ.
"""

from collections.abc import Callable
from typing import Any

import torch

ENOUGH = 2  # rollouts


class FirstRollouts:
    """Looks at the first ENOUGH rollouts of a run, over all processes."""

    def __init__(self, gather: Callable[[torch.Tensor], torch.Tensor], say: Callable) -> None:
        """`gather` concatenates a tensor (B,) over processes; `say` takes a line."""
        self._gather, self._say = gather, say
        self._seen, self._ended = 0, 0.0
        self._scores: set[float] = set()

    def see(self, scores: torch.Tensor, ended: torch.Tensor, args: Any, training: bool) -> None:
        """Count a rollout; after the last of them say what is wrong.

        Args:
            scores: (B,) final score of each answer; NaN: no function scored it.
            ended: (B,) whether it ended by itself.
            args: the trainer's: max_completion_length, missing_eos_penalty.
            training: whether it is a rollout of training.
        """
        if self._seen == ENOUGH or not training:
            return
        self._seen += 1
        found = self._gather(scores.float())
        self._scores |= set(found[~found.isnan()].tolist())
        self._ended += float(self._gather(ended.float()).sum())
        if self._seen < ENOUGH:
            return
        if not self._ended:
            pays = ": each pays missing_eos_penalty" if args.missing_eos_penalty else ""
            self._say(
                f"no answer of the first {ENOUGH} rollouts ended within "
                f"{args.max_completion_length} tokens{pays}; "
                "raise trainer.max_completion_length"
            )
        if len(self._scores) == 1:
            self._say(
                f"all rewards of the first {ENOUGH} rollouts are equal ({self._scores.pop():g}): "
                "there is nothing to learn from them; look at the answers and the reward function"
            )

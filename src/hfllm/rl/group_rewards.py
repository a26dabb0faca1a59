"""What GRPO and RLOO add to rewards: a penalty for a missing end, and a count of equal groups.

A reward model reads an answer through a chat template, which closes every answer: it cannot see
that one was truncated. `MissingEnd` is a reward function, so that its mean is logged, and
`reward_weights` carries the penalty. A group whose answers all got the same reward has no better
answer and teaches nothing: `EqualGroups` counts them and says so at the end.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

FILE = "equal_groups.json"


class MissingEnd:
    """A reward function: -1 for an answer without an end of turn, else 0."""

    __name__ = "missing_end"  # the metric is rewards/missing_end/mean

    def __init__(self) -> None:
        """`ends`: token ids that end a turn, known once the trainer is built."""
        self.ends: list[int] = []

    def __call__(self, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        """One number per completion."""
        return [0.0 if ids and ids[-1] in self.ends else -1.0 for ids in completion_ids]


def add_missing_end(functions: list[Any], args: Any) -> MissingEnd | None:
    """Append a `MissingEnd` to the reward functions, with its weight, if there is a penalty.

    Args:
        functions: a trainer's; changed.
        args: the trainer's: `missing_eos_penalty`, and `reward_weights`, which are changed.

    Raises:
        ValueError: `reward_weights` are not one for each function.
    """
    weights = [1.0] * len(functions) if args.reward_weights is None else list(args.reward_weights)
    if len(weights) != len(functions):
        names = ", ".join(getattr(f, "__name__", type(f).__name__) for f in functions)
        raise ValueError(
            f"trainer.reward_weights: {len(weights)} weights for {len(functions)} reward functions "
            f"({names}); give one for each, in this order"
        )
    if not args.missing_eos_penalty:
        return None
    added = MissingEnd()
    functions.append(added)
    args.reward_weights = [*weights, args.missing_eos_penalty]
    return added


class EqualGroups(TrainerCallback):
    """Counts the groups of answers, and those whose rewards were all the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Start at zero; `say` is called with the line at the end."""
        self.groups, self.equal = 0, 0
        self._say = say

    def count(self, rewards: torch.Tensor) -> None:
        """Add a rollout's groups: `rewards` (groups, answers), NaN where nothing scored one."""
        none = rewards.isnan()
        lowest = rewards.masked_fill(none, torch.inf).min(dim=1).values
        highest = rewards.masked_fill(none, -torch.inf).max(dim=1).values
        self.groups += len(rewards)
        self.equal += int((lowest >= highest).sum())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say how many groups taught nothing."""
        if not self.equal:
            return
        if self.equal == self.groups:
            which = (
                f"all {self.groups} groups of answers: in each, every answer got the same reward"
            )
        else:
            which = f"{self.equal} of {self.groups} groups of answers got one reward throughout"
        self._say(
            f"{which}, which teaches nothing; raise num_generations or temperature, or let the "
            "reward tell answers apart"
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the counts to the checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            counts = {"groups": self.groups, "equal": self.equal}
            (folder / FILE).write_text(json.dumps(counts), encoding="utf-8")

    def load(self, checkpoint: Path) -> None:
        """Continue with the counts of a checkpoint."""
        if (file := checkpoint / FILE).is_file():
            counts = json.loads(file.read_text(encoding="utf-8"))
            self.groups, self.equal = counts["groups"], counts["equal"]

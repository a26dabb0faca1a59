"""Count sampled answers that no reward function scores: they train nothing.

Such a row is one for which every function returns None. The share is logged where there are any
(completions/unscored), the count goes into the notes at the end, and a run in which nothing at all
was scored ends with an error: its model would be the one that it started from.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from hfllm.rl.meters import Meter

FILE = "scored_answers.json"
ENOUGH = 64  # answers, none of them scored, after which a run need not go on


class ScoredAnswers(TrainerCallback):
    """Counts over all processes; saved with a checkpoint."""

    def __init__(self, meter: Meter, reduce: Any, say: Any) -> None:
        """Start at zero.

        Args:
            meter: logs the share of unscored answers.
            reduce: sums a tensor over processes.
            say: called with the line at the end.
        """
        self.answers, self.scored = 0, 0
        self._meter, self._reduce, self._say = meter, reduce, say

    def count(self, scored: torch.Tensor, training: bool) -> torch.Tensor:
        """Count the answers of a rollout; return the share that was scored, ().

        Args:
            scored: (B,), bool, of this process.
            training: whether they count for the training as a whole.

        Raises:
            ValueError: none was scored so far, of at least ENOUGH.
        """
        counts = torch.stack([scored.float(), torch.ones_like(scored).float()]).sum(dim=1)
        found, answers = self._reduce(counts).tolist()
        if found < answers:
            self._meter.current["completions/unscored"].append(1 - found / answers)
        if training:
            self.answers, self.scored = self.answers + int(answers), self.scored + int(found)
            if self.answers >= ENOUGH:
                self._check()
        return torch.tensor(found / answers, device=scored.device)

    def _check(self) -> None:
        if self.answers and not self.scored:
            raise ValueError(
                f"no reward function scored any of {self.answers} sampled answers (all returned "
                "None), so nothing was learned; check the columns that the functions read"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say how many answers trained nothing; an error if that is all, unless it goes on."""
        if state.global_step >= state.max_steps:
            self._check()
        if unscored := self.answers - self.scored:
            self._say(
                f"{unscored} of {self.answers} sampled answers were scored by no reward function "
                "and taught nothing"
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the counts to the checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            counts = {"answers": self.answers, "scored": self.scored}
            (folder / FILE).write_text(json.dumps(counts), encoding="utf-8")

    def load(self, checkpoint: Path) -> None:
        """Continue with the counts of a checkpoint; from zero if it has none (an older one)."""
        if (file := checkpoint / FILE).is_file():
            counts = json.loads(file.read_text(encoding="utf-8"))
            self.answers, self.scored = counts["answers"], counts["scored"]

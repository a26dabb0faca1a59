"""`Rollout`: the tensors between generation and update, as a typed view of TRL's batch dict.

TRL passes a rollout as a dict; it shuffles its rows, splits them into micro-batches and keeps them
for `num_iterations` epochs. `Rollout` names the entries that PPO uses, with their shapes:
`from_batch` reads the dict, `to_batch` adds the new entries. Entries that only TRL uses (images,
importance sampling of vLLM) stay in the dict. A rollout in use is saved with a checkpoint
(rollout_files.py).
"""

from dataclasses import dataclass, field, fields
from typing import Any

import torch

from hfllm.rl.unpad import Rows

Batch = dict[str, Any]


@dataclass
class Rollout:
    """B prompts and answers, of P and T tokens with padding, and what an update needs."""

    prompt_ids: torch.Tensor  # (B, P), padded on the left
    prompt_mask: torch.Tensor  # (B, P)
    completion_ids: torch.Tensor  # (B, T), padded on the right
    completion_mask: torch.Tensor  # (B, T)
    num_items_in_batch: torch.Tensor  # (): trained tokens of the whole rollout, all processes
    tool_mask: torch.Tensor | None = None  # (B, T), 0 on a tool's output; None without tools
    ref_per_token_logps: torch.Tensor | None = None  # (B, T), of the reference; None with beta 0
    # Set in this order by the trainer (the first by TRL in some configurations).
    old_per_token_logps: torch.Tensor = field(init=False)  # (B, T), of the policy that sampled
    privileged_values: torch.Tensor = field(init=False)  # (B, T), zeros without prefix_features
    values: torch.Tensor = field(init=False)  # (B, T): the critic's + privileged_values
    value_mask: torch.Tensor = field(init=False)  # (B, T), 1 on tokens that are trained
    advantages: torch.Tensor = field(init=False)  # (B, T); before that TRL's own, (B,)
    returns: torch.Tensor = field(init=False)  # (B, T): targets of the values
    scored_share: torch.Tensor = field(init=False)  # (): of the whole rollout's answers

    @classmethod
    def from_batch(cls, batch: Batch) -> "Rollout":
        """A rollout of the entries of TRL's dict that are fields here."""
        here = [x for x in fields(cls) if x.name in batch]
        rollout = cls(**{x.name: batch[x.name] for x in here if x.init})
        vars(rollout).update({x.name: batch[x.name] for x in here if not x.init})
        return rollout

    def to_batch(self, batch: Batch) -> Batch:
        """TRL's dict with this rollout's fields."""
        return batch | {name: x for name, x in vars(self).items() if x is not None}

    @property
    def rows(self) -> Rows:
        """Ids and mask of prompts and answers, (B, P + T) each, and T."""
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        mask = torch.cat([self.prompt_mask, self.completion_mask], dim=1)
        return ids, mask, self.completion_ids.size(1)

    @property
    def written(self) -> torch.Tensor:
        """1.0 on tokens that the policy wrote, (B, T)."""
        written = self.completion_mask
        return (written if self.tool_mask is None else written * self.tool_mask).float()

    def answers(self) -> list[list[int]]:
        """Token ids of the answers, without padding."""
        pairs = zip(self.completion_ids, self.completion_mask, strict=True)
        return [ids[mask > 0].tolist() for ids, mask in pairs]

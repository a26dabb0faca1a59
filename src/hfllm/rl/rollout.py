"""What travels from a rollout to its updates, and to the checkpoint between the two.

TRL hands a rollout on as a dict, whose rows it shuffles, splits into micro-batches and keeps for
`num_iterations` epochs. `Rollout` gives the entries that PPO reads and writes their names and
shapes: `from_batch` reads the dict, `to_batch` writes what was added. Entries that only TRL reads
(images, importance sampling of vLLM) stay in the dict.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from hfllm.rl.unpad import Rows

Batch = dict[str, Any]


@dataclass
class Rollout:
    """Prompts and answers, one a row, with what an update needs; B rows, of P and of T tokens."""

    prompt_ids: torch.Tensor  # (B, P), padded on the left
    prompt_mask: torch.Tensor  # (B, P)
    completion_ids: torch.Tensor  # (B, T), padded on the right
    completion_mask: torch.Tensor  # (B, T)
    num_items_in_batch: torch.Tensor  # (): tokens written in the whole rollout, by all processes
    tool_mask: torch.Tensor | None = None  # (B, T), 0 on what a tool wrote; None without tools
    ref_per_token_logps: torch.Tensor | None = None  # (B, T), of the reference; None with beta 0
    # Set in this order by the trainer (TRL has set the first where it needs it itself).
    old_per_token_logps: torch.Tensor = field(init=False)  # (B, T), of the policy that wrote
    privileged_values: torch.Tensor = field(init=False)  # (B, T), zeros without prefix_features
    values: torch.Tensor = field(init=False)  # (B, T): the critic's and the privileged ones
    value_mask: torch.Tensor = field(init=False)  # (B, T), 1 on what teaches policy and critic
    advantages: torch.Tensor = field(init=False)  # (B, T); TRL's own, (B,), until they are set
    returns: torch.Tensor = field(init=False)  # (B, T): what values are to become

    @classmethod
    def from_batch(cls, batch: Batch) -> "Rollout":
        """The entries of TRL's dict that stand here too."""
        here = [x for x in fields(cls) if x.name in batch]
        rollout = cls(**{x.name: batch[x.name] for x in here if x.init})
        vars(rollout).update({x.name: batch[x.name] for x in here if not x.init})
        return rollout

    def to_batch(self, batch: Batch) -> Batch:
        """TRL's dict with what stands here."""
        return batch | {name: x for name, x in vars(self).items() if x is not None}

    @property
    def rows(self) -> Rows:
        """Prompts and answers together: ids and mask, (B, P + T) each, and T."""
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        mask = torch.cat([self.prompt_mask, self.completion_mask], dim=1)
        return ids, mask, self.completion_ids.size(1)

    @property
    def written(self) -> torch.Tensor:
        """1.0 on what the policy wrote, (B, T)."""
        written = self.completion_mask
        return (written if self.tool_mask is None else written * self.tool_mask).float()

    def answers(self) -> list[list[int]]:
        """The answers' token ids without padding."""
        pairs = zip(self.completion_ids, self.completion_mask, strict=True)
        return [ids[mask > 0].tolist() for ids, mask in pairs]


def save_micro_batches(file: Path, used: int, micro_batches: list[Batch]) -> None:
    """Keep a rollout that was used for `used` steps (tensors of a few hundred kB)."""
    torch.save({"used": used, "micro_batches": micro_batches}, file)


def load_micro_batches(file: Path, device: torch.device) -> tuple[int, Any]:
    """What `save_micro_batches` kept."""
    saved = torch.load(file, map_location=device, weights_only=True)
    for batch in saved["micro_batches"]:  # written before privileged_values had its name
        informed = batch.pop("informed", torch.zeros_like(batch["values"]))
        batch.setdefault("privileged_values", informed)
    return saved["used"], saved["micro_batches"]

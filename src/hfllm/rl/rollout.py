"""`Rollout`: the tensors between generation and update, as a typed view of TRL's batch dict.

TRL passes a rollout as a dict; it shuffles its rows, splits them into micro-batches and keeps them
for `num_iterations` epochs. `Rollout` names the entries that PPO uses, with their shapes:
`from_batch` reads the dict, `to_batch` adds the new entries. Entries that only TRL uses (images,
importance sampling of vLLM) stay in the dict. A rollout in use is saved with a checkpoint.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from hfllm.rl.ppo_config import PPOConfig
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


def save_micro_batches(file: Path, used: int, micro_batches: list[Batch]) -> None:
    """Save the `micro_batches` of a rollout and the steps for which it was `used` to `file`."""
    torch.save({"used": used, "micro_batches": micro_batches}, file)


def load_micro_batches(file: Path, device: torch.device) -> tuple[int, Any]:
    """Load (used, micro_batches) of `save_micro_batches`."""
    # Not map_location=device: torch cannot restore to "cpu:0", the device of a process of several.
    saved = torch.load(file, map_location="cpu", weights_only=True)
    for batch in saved["micro_batches"]:  # older files have privileged_values as `informed`
        informed = batch.pop("informed", torch.zeros_like(batch["values"]))
        batch.setdefault("privileged_values", informed)
        batch.setdefault("scored_share", torch.tensor(1.0))
    return saved["used"], [
        {name: x.to(device) if torch.is_tensor(x) else x for name, x in batch.items()}
        for batch in saved["micro_batches"]
    ]


def rollout_file(checkpoint: Path, process: int) -> Path:
    """The file in which a process saves its part of a rollout that is in use."""
    return checkpoint / f"rollout_{process}.pt"


def has_rollout_of(checkpoint: Path, processes: int) -> bool:
    """Whether the checkpoint has the rollout's part of each of so many processes, and no other."""
    names = {path.name for path in checkpoint.glob("rollout_*.pt")}
    return names == {rollout_file(checkpoint, i).name for i in range(processes)}


def step_of(checkpoint: Path) -> int:
    """The optimizer step of a trainer's checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).global_step


def steps_into_rollout(args: PPOConfig, prompts: Any, optimizer_step: int) -> int:
    """Micro-batches of the current rollout that were used up at an optimizer step.

    Args:
        args: rollouts and accumulation of this run.
        prompts: the data set; an epoch is a whole number of rollouts.
        optimizer_step: counted from the start of the training.
    """
    use = (args.steps_per_generation or 1) * args.num_iterations
    per_rollout = (args.generation_batch_size or 1) // (args.num_generations or 1)
    in_epoch = -(-(len(prompts) // per_rollout * use) // args.gradient_accumulation_steps)
    return optimizer_step % in_epoch * args.gradient_accumulation_steps % use

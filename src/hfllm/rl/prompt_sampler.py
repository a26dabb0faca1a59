"""The order of prompts, the same in a resumed run: TRL's sampler, which knows its epoch.

TRL's RepeatSampler draws each epoch's order from one generator, so a resumed run would begin with
the first epoch's order again. Nothing here is PPO's own: any trainer on GRPOTrainer can use it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import Trainer
from trl.trainer.utils import RepeatSampler


class ResumableSampler(RepeatSampler):
    """TRL's sampler with each epoch's own order in a resumed run too.

    Not by set_epoch: under several processes it does not reach the sampler in a resumed epoch.
    """

    def __init__(self, sampler: Any, trainer: Trainer) -> None:
        """Take over what TRL's `sampler` has; the trainer's state knows which epoch begins."""
        self.__dict__ |= vars(sampler)
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        """Indices of prompts, in the order of the epoch that begins."""
        if self.shuffle and self.seed is not None:
            self.generator.manual_seed(self.seed)
            for _ in range(int(self.trainer.state.epoch or 0)):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()

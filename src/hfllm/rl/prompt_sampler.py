"""TRL's RepeatSampler with the same order of prompts in a resumed run.

TRL's sampler draws each epoch's order from one generator, so a resumed run would start again with
the order of the first epoch. Any trainer on GRPOTrainer can use this one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import Trainer
from trl.trainer.utils import RepeatSampler


class ResumableSampler(RepeatSampler):
    """TRL's sampler, which in a resumed run first skips the draws of the epochs that are done.

    Not with set_epoch: with several processes it does not reach the sampler in a resumed epoch.
    """

    def __init__(self, sampler: Any, trainer: Trainer) -> None:
        """Copy the attributes of TRL's `sampler`; the trainer's state has the current epoch."""
        self.__dict__ |= vars(sampler)
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        """Indices of prompts, in the order of the current epoch."""
        if self.shuffle and self.seed is not None:
            self.generator.manual_seed(self.seed)
            for _ in range(int(self.trainer.state.epoch or 0)):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()

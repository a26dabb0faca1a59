"""TRL's DPOConfig with every key that would do nothing, or wrong, refused (preference_keys.py)."""

from dataclasses import dataclass, field
from typing import Any

from trl import DPOConfig

from hfllm.training.preference_keys import dpo_problems


@dataclass
class CheckedDPOConfig(DPOConfig):
    """Settings of `ReadyDPOTrainer`; works with `OmegaConf.structured`.

    Raises:
        ValueError: one line on a value that has no effect, or that DPO cannot use.
    """

    # TRL takes a name or a list of names, which no type of OmegaConf's says
    loss_type: Any = field(
        default_factory=lambda: ["sigmoid"],
        metadata={"help": "A loss by TRL's name, or a list of them, weighted by loss_weights: "
                  "sigmoid (DPO), ipo, hinge, robust and others (docs/methods.md)."},
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Check the keys, TRL's own checks in between."""
        super().__post_init__()
        self.loss_type = list(self.loss_type)
        if problem := next(dpo_problems(self), None):
            raise ValueError(problem)

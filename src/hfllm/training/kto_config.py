"""TRL's KTOConfig with every key that would do nothing, or wrong, refused (preference_keys.py)."""

from dataclasses import dataclass

from trl import KTOConfig

from hfllm.training.preference_keys import kto_problems


@dataclass
class CheckedKTOConfig(KTOConfig):
    """Settings of `ReadyKTOTrainer`; works with `OmegaConf.structured`.

    Raises:
        ValueError: one line on a value that has no effect, or that KTO cannot use.
    """

    def __post_init__(self) -> None:
        """Check the keys, after TRL's own checks."""
        super().__post_init__()
        if problem := next(kto_problems(self), None):
            raise ValueError(problem)

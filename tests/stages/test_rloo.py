"""RLOO as a stage: what it promises in a recipe, and what it refuses before a run."""

from typing import Any

from test_grpo import TINY as GRPO

TINY: dict[str, Any] = GRPO
VARIANTS: list[Any] = [
    {"trainer": {"num_iterations": 2}},  # killed inside a rollout
    {
        "peft": {"r": 2, "target_modules": ["q_proj"]},
        "trainer": {"steps_per_generation": 2, "normalize_advantages": True},
    },
]

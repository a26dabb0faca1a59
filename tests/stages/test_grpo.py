"""GRPO as a stage: what it promises in a recipe, and what it refuses before a run."""

from typing import Any

PAYS = "hfllm.rl.rewards:length_reward"
TRAINER = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 8,
    "learning_rate": 1e-3,
    "bf16": False,
    "use_cpu": True,
}
TINY: dict[str, Any] = {
    "data": {"mixture": [{"path": "data/prompts.jsonl"}]},
    "reward_functions": [PAYS],
    "trainer": TRAINER,
}
VARIANTS: list[Any] = [
    {"trainer": {"num_iterations": 2}},  # killed inside a rollout
    {"trainer": {"steps_per_generation": 2, "beta": 0.1, "loss_type": "dr_grpo"}},
    {
        "peft": {"r": 2, "target_modules": ["q_proj"]},
        "trainer": {"beta": 0.1, "num_iterations": 2, "generate_dtype": "bfloat16"},
    },
]

from tiny import TRAINER

LORA = {"r": 2, "target_modules": ["q_proj"]}
TINY = {
    "data": {"seq_len": 64, "mixture": [{"path": "data/pairs.jsonl"}], "holdout": 0.2},
    "trainer": {**TRAINER, "max_steps": 2, "eval_strategy": "steps", "eval_steps": 1},
}
VARIANTS = [
    {"peft": LORA, "trainer": {"precompute_ref_log_probs": False}},
    {"trainer": {"precompute_ref_log_probs": False, "loss_type": "apo_zero_unpaired"}},
]

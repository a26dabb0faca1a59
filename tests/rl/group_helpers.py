"""A GRPO or RLOO trainer on the tiny policy, for the tests of both."""

from typing import Any

import torch
from rl_helpers import SETTINGS, even_tokens
from transformers import LlamaForCausalLM

from hfllm.rl.group_config import GRPOConfig, RLOOConfig
from hfllm.rl.group_trainer import GRPOTrainer, RLOOTrainer

BOTH = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
BASE: dict[str, Any] = {**SETTINGS, "num_generations": 4, "missing_eos_penalty": None}


def config(method, folder, **changes):
    return BOTH[method][1](output_dir=str(folder), **{**BASE, **changes})


def maker(folder, policy_folder, tokenizer, prompts):
    """A function of a method's name and of settings and arguments of its trainer."""

    def make(method, **changes):
        trainer, settings = BOTH[method]
        known = settings.__dataclass_fields__
        args = config(method, folder / "run", **{k: v for k, v in changes.items() if k in known})
        others = {k: v for k, v in changes.items() if k not in known}
        default = dict(
            model=LlamaForCausalLM.from_pretrained(policy_folder, dtype=torch.float32),
            reward_funcs=even_tokens,
            train_dataset=prompts,
            processing_class=tokenizer,
        )
        return trainer(args=args, **{**default, **others})

    return make


def group_rollout(trainer, prompts=2):
    """One rollout of the first prompts, a whole group for each, in training mode."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    torch.manual_seed(0)
    rows = [
        trainer.train_dataset[i] for i in range(prompts) for _ in range(trainer.num_generations)
    ]
    return trainer._generate_and_score_completions(rows)


def answers(batch):
    """Token ids of the answers, without padding."""
    pairs = zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    return [ids[mask > 0].tolist() for ids, mask in pairs]

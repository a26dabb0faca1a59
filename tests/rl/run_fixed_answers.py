"""A PPO run whose answers are fixed by the prompts; run by python, or by torchrun on two processes.

python run_fixed_answers.py POLICY REWARD OUT BATCH_PER_PROCESS [ZERO_STAGE]

Writes OUT.RANK (the log) and the saved policy and critic to OUT.model.
"""

import hashlib
import sys

import torch
from datasets import Dataset
from rl_helpers import CHECKPOINTING
from transformers import AutoTokenizer, LlamaForCausalLM

from hfllm.rl.ppo_config import PPOConfig
from hfllm.rl.ppo_trainer import PPOTrainer
from hfllm.rl.rewards import load_reward_model


def fixed_answers(prompts, trainer):
    """Stands for generation: 3 to 7 tokens made from the prompt's text, most of them ended."""
    prompt_ids, _, _ = trainer._tokenize_prompts(prompts)
    answers = []
    for prompt in prompts:
        digest = hashlib.sha256(prompt[0]["content"].encode()).digest()
        length = 3 + digest[0] % 5
        answers.append([7 + byte for byte in digest[:length]] + [6] * (digest[1] % 3 > 0))
    logprobs = [[0.0] * len(ids) for ids in answers]
    return {"prompt_ids": prompt_ids, "completion_ids": answers, "logprobs": logprobs}


def zero_config(stage: int) -> dict:
    """DeepSpeed on a CPU: its processes must be joined before a model is loaded in shards."""
    import deepspeed

    deepspeed.init_distributed("gloo")
    return {
        "zero_optimization": {"stage": stage, "stage3_gather_16bit_weights_on_model_save": True},
        "gradient_clipping": "auto",  # 1.0 where it is missing, whatever max_grad_norm says
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
    }


def main(policy: str, reward: str, out: str, batch: str, zero: str = "") -> None:
    args = PPOConfig(
        out + ".run",
        per_device_train_batch_size=int(batch),
        num_iterations=2,
        max_steps=4,
        learning_rate=0.01,
        adam_epsilon=1e-2,  # without it, rounding decides the sign of many first steps
        max_grad_norm=100.0,  # never reached: DeepSpeed clips policy and critic together
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        bf16=False,
        use_cpu=True,
        deepspeed=zero_config(int(zero)) if zero else None,
        **{CHECKPOINTING: False},
    )
    prompts = [{"prompt": [{"role": "user", "content": f"who is {i}?"}]} for i in range(8)]
    trainer = PPOTrainer(
        LlamaForCausalLM.from_pretrained(policy, dtype=torch.float32),
        load_reward_model(reward),
        args,
        critic=reward,
        train_dataset=Dataset.from_list(prompts),
        processing_class=AutoTokenizer.from_pretrained(policy),
        rollout_func=fixed_answers,
    )
    trainer.train()
    trainer.save_model(out + ".model")
    own = {"log": trainer.state.log_history, "notes": trainer.notes}
    torch.save(own, f"{out}.{trainer.accelerator.process_index}")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # as hfllm.launch ends: nobody leaves while another works
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

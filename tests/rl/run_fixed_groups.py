"""A GRPO or RLOO run whose answers are fixed by prompt and row; by python, or by torchrun on two.

python run_fixed_groups.py METHOD POLICY OUT BATCH_PER_PROCESS

Writes OUT.RANK (the log) and the saved policy to OUT.model. One group of answers spans the batch.
"""

import hashlib
import sys

import torch
from datasets import Dataset
from group_helpers import BASE, BOTH
from rl_helpers import even_tokens
from transformers import AutoTokenizer, LlamaForCausalLM


def fixed_answers(trainer, prompt_ids, *_args, **_kwargs):
    """Stands for generation: 3 to 7 tokens made from the prompt and the row, most of them ended."""
    first = trainer.accelerator.process_index * len(prompt_ids)
    answers = []
    for row, ids in enumerate(prompt_ids):
        digest = hashlib.sha256(f"{ids} {first + row}".encode()).digest()
        length = 3 + digest[0] % 5
        answers.append([7 + byte for byte in digest[:length]] + [6] * (digest[1] % 3 > 0))
    return answers if "RLOO" in type(trainer).__name__ else (answers, None)


def main(method: str, policy: str, out: str, batch: str) -> None:
    made, settings = BOTH[method]
    changes = dict(
        per_device_train_batch_size=int(batch), steps_per_generation=1, num_generations=8,
        num_iterations=2, beta=0.1, missing_eos_penalty=0.5, learning_rate=0.01, adam_epsilon=1e-2,
    )  # fmt: skip
    args = settings(output_dir=out + ".run", **{**BASE, **changes})
    prompts = [{"prompt": [{"role": "user", "content": f"who is {i}?"}]} for i in range(8)]
    made._generate_single_turn = fixed_answers
    trainer = made(
        LlamaForCausalLM.from_pretrained(policy, dtype=torch.float32),
        even_tokens,
        args,
        train_dataset=Dataset.from_list(prompts),
        processing_class=AutoTokenizer.from_pretrained(policy),
    )
    trainer.train()
    trainer.save_model(out + ".model")
    groups = (trainer.equal_groups.groups, trainer.scored_answers.answers)
    own = {"log": trainer.state.log_history, "groups": groups}
    torch.save(own, f"{out}.{trainer.accelerator.process_index}")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

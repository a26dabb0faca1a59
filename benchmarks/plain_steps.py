"""The other sides of real_model_steps.py: plain TRL code, and a bare loop; a process for each.

    python benchmarks/plain_steps.py MODEL --side TRL --part sft --folder FOLDER --steps 3

FOLDER holds the rows that real_model_steps.py has written. Prints one line, RESULT and JSON:
seconds per unit of work and peak GB.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def theirs(part: str, model: str, folder: Path, steps: int) -> dict[str, float]:
    """The same of plain TRL code, in this process."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    from hfllm.runs.record import peak_memory_gb

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    def rows(name: str) -> Any:
        return load_dataset("json", data_files=str(folder / f"{name}.jsonl"), split="train")

    shared: dict[str, Any] = {
        "output_dir": str(folder / "trl"), "max_steps": steps, "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1,
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(model)
    lora = None if part == "sft" else LoraConfig(**LORA)
    kept: list[Any] = []
    if part in ("sft", "lora"):
        from trl import SFTConfig, SFTTrainer

        chats = rows("chats").map(
            lambda row: {"prompt": row["messages"][:1], "completion": row["messages"][1:]},
            remove_columns=["messages"],
        )
        args = SFTConfig(per_device_train_batch_size=4, **shared)
        trainer: Any = SFTTrainer(
            model, args, train_dataset=chats, processing_class=tokenizer, peft_config=lora
        )
        plain = trainer.data_collator

        def collate(examples: Any) -> Any:
            batch = plain(examples)
            kept.append(int((batch["labels"][:, 1:] != -100).sum()))
            return batch

        trainer.data_collator = collate
    elif part == "reward":
        from trl import RewardConfig, RewardTrainer

        tokenizer.pad_token = "<|endoftext|>"
        args = RewardConfig(per_device_train_batch_size=8, **shared)
        trainer = RewardTrainer(
            model, args, train_dataset=rows("pairs"), processing_class=tokenizer, peft_config=lora
        )
    else:
        from trl import GRPOConfig, GRPOTrainer

        args = GRPOConfig(
            per_device_train_batch_size=32, num_generations=2, max_completion_length=64, beta=0.05,
            **shared,
        )  # fmt: skip
        policy = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
        trainer = GRPOTrainer(
            policy, lambda completion_ids, **_: [-0.01 * len(ids) for ids in completion_ids],
            args, train_dataset=rows("prompts"), processing_class=tokenizer, peft_config=lora,
        )  # fmt: skip
    trainer.add_callback(Clock())
    trainer.train()
    units = {"reward": 8.0, "ppo": 32.0}.get(part) or sum(kept[1:steps]) / (steps - 1)
    return {"per_unit": (times[-1] - times[0]) / (steps - 1) / units, "gb": peak_memory_gb()}


def bare(part: str, model: str, folder: Path, steps: int) -> dict[str, float]:
    """The same of a loop that anybody would write: batches of 4, padded, AdamW, bf16 autocast."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from hfllm.runs.record import peak_memory_gb

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model)
    net: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).to(device)
    if part == "lora":
        net = get_peft_model(net, LoraConfig(task_type="CAUSAL_LM", **LORA))
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=2e-5)
    lines = (folder / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines[: 4 * steps]]
    times, kept = [], []
    for at in range(0, len(chats), 4):
        ids, labels = [], []
        for chat in chats[at : at + 4]:
            whole, asked = (
                tokenizer.apply_chat_template(chat[:n], add_generation_prompt=n == 1)["input_ids"]
                for n in (2, 1)
            )
            ids.append(torch.tensor(whole))
            labels.append(torch.tensor([-100] * len(asked) + whole[len(asked) :]))
        padded = torch.nn.utils.rnn.pad_sequence
        batch = {
            "input_ids": padded(ids, batch_first=True),
            "attention_mask": padded([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": padded(labels, batch_first=True, padding_value=-100),
        }
        with torch.autocast(device, torch.bfloat16):
            loss = net(**{k: v.to(device) for k, v in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter())
        kept.append(int((batch["labels"][:, 1:] != -100).sum()))
    return {"per_unit": (times[-1] - times[0]) / sum(kept[1:]), "gb": peak_memory_gb()}


SIDES = {"TRL": theirs, "bare": bare}


def main() -> None:
    """One side, one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--side", choices=list(SIDES), required=True)
    parser.add_argument("--part", choices=["sft", "lora", "reward", "ppo"], required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    args = parser.parse_args()
    print("RESULT", json.dumps(SIDES[args.side](args.part, args.model, args.folder, args.steps)))


if __name__ == "__main__":
    main()

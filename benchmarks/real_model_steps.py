"""Training steps on a real model: hfllm's stages beside plain TRL code on the same rows, in turns.

    python benchmarks/real_model_steps.py models/SmolLM2-135M-Instruct --data ../shared/data
        [--parts sft lora reward ppo] [--steps 3] [--rounds 1]

Each part runs in a process of its own, ours through `hfllm run`, so that peak memory is its own:

- sft, lora: chats of Dolly; per token that is trained (the answers), TRL with its defaults but
  batches of 4 and bf16;
- reward: pairs of PandaLM under LoRA, per pair, the same rows in both;
- ppo: rollouts of 32 answers of at most 64 tokens under LoRA, one epoch: our PPO with a shared
  critic against GRPOTrainer with two answers a prompt, per answer, the reference's pass in both.

The first step of each is left out: it warms up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
UNITS = {"sft": "trained tokens", "lora": "trained tokens", "reward": "pairs", "ppo": "answers"}


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a packed JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def prepare(data: Path, folder: Path) -> None:
    """The rows that both sides read: short enough to be whole in both."""
    chats = [
        [{"role": "user", "content": row["instruction"]},
         {"role": "assistant", "content": row["output"]}]
        for row in read(data / "sft/dolly_3k.jsonl.gz")
        if not row["input"] and 20 < len(row["output"]) < 1200
    ]  # fmt: skip
    pairs = []
    for row in read(data / "preference/pandalm_human.jsonl.gz"):
        better = {1: "response1", 2: "response2"}.get(int(row["label"]))
        texts = {row["response1"].strip(), row["response2"].strip()}
        if better and len(texts) == 2 and all(texts) and not row["input"]:
            worse = "response2" if better == "response1" else "response1"
            user = [{"role": "user", "content": row["instruction"]}]
            says = [[{"role": "assistant", "content": row[key]}] for key in (better, worse)]
            pairs.append({"prompt": user, "chosen": says[0], "rejected": says[1]})
    files = {
        "chats": [{"messages": chat} for chat in chats],
        "pairs": pairs,
        "prompts": [{"prompt": chat[:1]} for chat in chats if len(chat[0]["content"]) < 200],
    }
    for name, rows in files.items():
        text = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def ours(part: str, model: str, folder: Path, steps: int) -> dict[str, float]:
    """Seconds per unit and peak GB of a stage, from what it writes down itself."""
    stage = "sft" if part == "lora" else part
    trainer: dict[str, Any] = {"max_steps": steps, "logging_steps": 1, "save_strategy": "no"}
    section: dict[str, Any] = {"init": model, "trainer": trainer}
    if part != "sft":
        section["peft"] = LORA
    rows = {"ppo": "prompts", "reward": "pairs"}.get(part, "chats")
    section["data"] = {"mixture": [{"path": str(folder / f"{rows}.jsonl")}]}
    if stage == "sft":
        trainer["per_device_train_batch_size"] = 4
        section["data"]["seq_len"] = 512
    elif part == "reward":
        trainer["per_device_train_batch_size"] = 8
    else:
        section |= {"reward": None, "reward_functions": ["hfllm.rl.rewards:length_reward"]}
        trainer |= {
            "per_device_train_batch_size": 32, "max_completion_length": 64, "num_iterations": 1,
            "shared_critic": True, "generate_dtype": "bfloat16",
        }  # fmt: skip
    recipe = folder / f"{part}.yaml"
    recipe.write_text(
        json.dumps({"run_dir": str(folder / "runs"), part: {"stage": stage} | section})
    )
    done = subprocess.run(
        [sys.executable, "-m", "hfllm", "run", str(recipe)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    step = folder / "runs" / part / part
    lines = [json.loads(line) for line in (step / "metrics.jsonl").read_text().splitlines()]
    times = [line["time_s"] for line in lines if "loss" in line]
    manifest = json.loads((step / "manifest.json").read_text())
    units = {"reward": 8.0, "ppo": 32.0}.get(part)
    if units is None:
        units = manifest["tokens"] / steps * manifest["metrics"]["trained_share"]
    return {
        "per_unit": (times[-1] - times[0]) / (len(times) - 1) / units,
        "gb": manifest["peak_memory_gb"],
    }


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


def main() -> None:
    """Print one line a part and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", nargs="+", default=list(UNITS), choices=list(UNITS))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trl", help=argparse.SUPPRESS)  # this process is TRL's side
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: 2 or more, the first is left out")
    if args.trl:
        print("RESULT", json.dumps(theirs(args.parts[0], args.model, Path(args.trl), args.steps)))
        return
    for part in args.parts:
        for number in range(args.rounds):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                prepare(args.data, folder)
                found = {"ours": ours(part, args.model, folder, args.steps)}
                words = [sys.executable, __file__, args.model, "--parts", part]
                words += ["--steps", str(args.steps), "--trl", str(folder)]
                done = subprocess.run(words, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(done.stdout + done.stderr)
                line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT"))
                found["TRL"] = json.loads(line.removeprefix("RESULT"))
            rates = {k: 1 / v["per_unit"] for k, v in found.items()}
            print(
                f"{part} round {number}: {UNITS[part]}/s ours {rates['ours']:.2f}, "
                f"TRL {rates['TRL']:.2f}, ratio {rates['ours'] / rates['TRL']:.2f}; "
                f"peak GB ours {found['ours']['gb']:.1f}, TRL {found['TRL']['gb']:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Training steps on a real model: hfllm's stages beside plain TRL code on the same rows, in turns.

For SFT a bare loop over transformers and torch stands beside both.

    python benchmarks/real_model_steps.py models/SmolLM2-135M-Instruct --data ../shared/data
        [--parts sft lora reward ppo] [--steps 3] [--rounds 1] [--attention eager [--ours]]

Each part runs in a process of its own, ours through `hfllm run`, so that peak memory is its own:

- sft, lora: chats of Dolly; per token that is trained (the answers), TRL with its defaults but
  batches of 4 and bf16; the bare loop with batches of 4, padded, in the order of the file;
- reward: pairs of PandaLM under LoRA, per pair, the same rows in both;
- ppo: rollouts of 32 answers of at most 64 tokens under LoRA, one epoch: our PPO with a shared
  critic against GRPOTrainer with two answers a prompt, per answer, the reference's pass in both.

The first step of each is left out: it warms up. With `--attention` our side runs once more with
another `attn_implementation`; with `--ours` nobody else's does.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from plain_steps import LORA

SIDES = {"sft": ("TRL", "bare"), "lora": ("TRL", "bare"), "reward": ("TRL",), "ppo": ("TRL",)}
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


def ours(
    part: str, model: str, folder: Path, steps: int, attention: str | None = None
) -> dict[str, float]:
    """Seconds per unit and peak GB of a stage, from what it writes down itself."""
    stage = "sft" if part == "lora" else part
    trainer: dict[str, Any] = {"max_steps": steps, "logging_steps": 1, "save_strategy": "no"}
    section: dict[str, Any] = {
        "init": model, "trainer": trainer, "attn_implementation": attention
    }  # fmt: skip
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
    recipe, runs = folder / f"{part}.yaml", folder / f"runs-{attention or 'usual'}"
    recipe.write_text(json.dumps({"run_dir": str(runs), part: {"stage": stage} | section}))
    done = subprocess.run(
        [sys.executable, "-m", "hfllm", "run", str(recipe)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    step = runs / part / part
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


def other(side: str, part: str, model: str, folder: Path, steps: int) -> dict[str, float]:
    """The same of another side, in a process of its own (plain_steps.py)."""
    words = [sys.executable, str(Path(__file__).with_name("plain_steps.py")), model]
    words += ["--side", side, "--part", part, "--folder", str(folder), "--steps", str(steps)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    line = next(x for x in done.stdout.splitlines() if x.startswith("RESULT"))
    return json.loads(line.removeprefix("RESULT"))


def main() -> None:
    """Print one line a part and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", nargs="+", default=list(UNITS), choices=list(UNITS))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--attention", help="time ours with this attn_implementation too")
    parser.add_argument("--ours", action="store_true", help="nobody else's side")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: 2 or more, the first is left out")
    for part in args.parts:
        for number in range(args.rounds):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                prepare(args.data, folder)
                found = {"ours": ours(part, args.model, folder, args.steps)}
                if name := args.attention:
                    found[f"ours, {name}"] = ours(part, args.model, folder, args.steps, name)
                for side in () if args.ours else SIDES[part]:
                    found[side] = other(side, part, args.model, folder, args.steps)
            rates = {side: 1 / one["per_unit"] for side, one in found.items()}
            print(f"{part} round {number}, {UNITS[part]} a second:", flush=True)
            for side, one in found.items():
                ratio = rates["ours"] / rates[side]
                print(
                    f"  {side} {rates[side]:.2f} (ours {ratio:.2f}x), {one['gb']:.1f} GB",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""The plan of ten trainings beside what they took: peak memory, and seconds after a probe.

    python benchmarks/plan.py models/SmolLM2-135M-Instruct --data ../shared/data [--time]
    python benchmarks/plan.py models/SmolLM2-135M-Instruct --cases small-pretrain lora-sft-4

Each case is a recipe of its own in a folder of its own: its parents run first with a few steps,
then the step itself. Predicted are the figures that its manifest got before it began; actual are
its peak memory, its tokens and its seconds. With --time `hfllm plan --probe` runs before the step,
which gives the manifest its seconds; that wants a machine with nothing else on it. Peaks hold on a
busy machine too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
SMALL = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 704,
         "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
         "tie_word_embeddings": True}  # fmt: skip
MIDDLE = SMALL | {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
                  "num_attention_heads": 8, "num_key_value_heads": 4}  # fmt: skip
STEPS = 4


def trainer(batch: int, **more: Any) -> dict[str, Any]:
    """A `trainer:` section of a few steps."""
    few = {"max_steps": STEPS, "logging_steps": 1, "save_strategy": "no", "learning_rate": 1e-4}
    return few | {"per_device_train_batch_size": batch} | more


def recipes(model: str, data: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """{case: (step, its recipe)}."""
    texts = [{"path": str(data / "text/wikitext2_valid.parquet")}]
    chats = [{"path": str(data / "sft/dolly_3k.jsonl.gz")}]
    pairs = [{"path": str(data / "preference/pandalm_human.jsonl.gz")}]
    tokenizer = {"vocab_size": 2048, "data": texts}
    base = {"tokenizer": tokenizer, "pretrain": {
        "model": SMALL, "data": {"seq_len": 256, "mixture": texts},
        "trainer": trainer(8, eval_strategy="no")}}  # fmt: skip
    sft = base | {"sft": {"data": {"seq_len": 256, "mixture": chats}, "trainer": trainer(8)}}
    reward = sft | {"reward": {"data": {"seq_len": 256, "mixture": pairs}, "trainer": trainer(16)}}
    ppo = reward | {"ppo": {
        "data": {"max_prompt_tokens": 128, "mixture": pairs},
        "trainer": trainer(16, max_completion_length=48)}}  # fmt: skip

    def tuned(stage: str, batch: int, seq_len: int = 512, **more: Any) -> dict[str, Any]:
        own = {"sft": chats, "reward": pairs}[stage]
        keys = {"init": model, "data": {"seq_len": seq_len, "mixture": own}}
        given = {"trainer": trainer(batch, **more.pop("trainer", {}))}
        return {stage: keys | given | {"peft": LORA} | more}

    middle = {"tokenizer": tokenizer | {"vocab_size": 8192}, "pretrain": {
        "model": MIDDLE, "data": {"seq_len": 512, "mixture": texts},
        "trainer": trainer(4, eval_strategy="no")}}  # fmt: skip
    return {
        "small-pretrain": ("pretrain", base),
        "small-sft": ("sft", sft),
        "small-reward": ("reward", reward),
        "small-ppo": ("ppo", ppo),
        "middle-pretrain": ("pretrain", middle),
        "lora-sft-1": ("sft", tuned("sft", 1)),
        "lora-sft-4": ("sft", tuned("sft", 4)),
        "lora-sft-4-checkpointing": (
            "sft", tuned("sft", 4, trainer={"activation_checkpointing": True})),
        "dora-sft-2": ("sft", tuned("sft", 2, peft=LORA | {"use_dora": True})),
        "lora-reward-2": ("reward", tuned("reward", 2, 384)),
        "full-sft-2": ("sft", tuned("sft", 2, peft=None)),
        "full-sft-2-accumulated": (
            "sft", tuned("sft", 2, peft=None, trainer={"gradient_accumulation_steps": 2})),
    }  # fmt: skip


def hfllm(*words: str) -> str:
    """Run the command; its output. Ends the benchmark with its last lines if it fails."""
    command = [sys.executable, "-m", "hfllm", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def run(step: str, recipe: dict[str, Any], folder: Path, probe: bool) -> dict[str, Any]:
    """Run a case; the manifest of its step."""
    path = folder / "case.yaml"
    path.write_text(json.dumps({"run_dir": str(folder), "name": "case", **recipe}))
    for parent in recipe:
        if parent != step:
            hfllm("run", str(path), "--only", parent)
    if probe:
        print(hfllm("plan", str(path), step, "--probe"), flush=True)
    hfllm("run", str(path), "--only", step)
    return json.loads((folder / "case" / step / "manifest.json").read_text())


def figures(manifest: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """(name, predicted, actual) of what the manifest has both of."""
    predicted = manifest["prediction"]
    for name, key, actual in (
        ("memory, GiB", "memory_gb", manifest["peak_memory_gb"]),
        ("tokens", "tokens", manifest["tokens"]),
        ("seconds", "seconds", manifest["wall_s"]),
    ):
        if key in predicted and actual:
            yield name, predicted[key], actual


def main() -> None:
    """Print a line for each figure of each case, and write all of them to --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--time", action="store_true", help="probe first")
    parser.add_argument("--out", type=Path, help="a file of JSON lines")
    args = parser.parse_args()
    known = recipes(str(Path(args.model).resolve()), args.data.resolve())
    if unknown := set(args.cases or ()) - set(known):
        parser.error(f"--cases: no {', '.join(unknown)}; there are {', '.join(known)}")
    for case in args.cases or known:
        with tempfile.TemporaryDirectory() as place:
            manifest = run(*known[case], Path(place), args.time)
        for name, predicted, actual in figures(manifest):
            off = predicted / actual - 1
            print(
                f"{case:<26}{name:<14}{predicted:>12,.3g}{actual:>12,.3g}{off:>+8.1%}", flush=True
            )
        if args.out:
            kept = {
                key: manifest[key] for key in ("prediction", "peak_memory_gb", "tokens", "wall_s")
            }
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"case": case, **kept}) + "\n")


if __name__ == "__main__":
    main()

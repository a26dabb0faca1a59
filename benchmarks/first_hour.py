"""The README's LoRA recipe as it runs by default, beside the batch at once that was the default.

    python benchmarks/first_hour.py models/SmolLM2-135M-Instruct --data ../shared/data [--steps 3]

Both sides are `hfllm run` of the same recipe in turns, each in a process of its own: chats of
Dolly, rows of 512 tokens, 16 rows a step. Printed of each: the estimated and the measured peak,
wall and CPU seconds per optimizer step (the first is left out; CPU seconds hold on a machine that
does other work too), tokens per CPU second, and seconds from the start to the first line on the
training. `before` sets per_device_train_batch_size: 16, the default until
2026-12-01.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from plain_steps import LORA

SIDES: dict[str, dict[str, Any]] = {"before": {"per_device_train_batch_size": 16}, "after": {}}
LINE = re.compile(r"step +\d+/\d+ ")
EXPECTED = re.compile(r"expected memory: about ([\d.]+) GiB")


def recipe(model: str, data: Path, steps: int, trainer: dict[str, Any]) -> dict[str, Any]:
    """The README's section, with the steps that are timed."""
    timed = {"max_steps": steps, "save_strategy": "no", "logging_steps": 1}
    return {
        "stage": "sft",
        "init": str(Path(model).resolve()),
        "peft": LORA,
        "trainer": {"learning_rate": 2e-4} | timed | trainer,
        "data": {"mixture": [{"path": str((data / "sft/dolly_3k.jsonl.gz").resolve())}]},
    }


def run(side: str, section: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one side; its figures from its manifest, its metrics and its output."""
    path = folder / f"{side}.yaml"
    path.write_text(json.dumps({"run_dir": str(folder), side: section}))
    words = [sys.executable, "-m", "hfllm", "run", str(path)]
    begin, expected = time.monotonic(), None
    lines: list[tuple[float, float]] = []  # (wall, CPU) seconds at each line on a step
    said: list[str] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        assert p.stdout is not None
        for line in p.stdout:
            said.append(line)
            if LINE.search(line):
                lines.append((time.monotonic() - begin, cpu_seconds(p.pid)))
            if found := EXPECTED.search(line):
                expected = float(found[1])
    if p.returncode:
        raise SystemExit(f"{side} ended with exit code {p.returncode}:\n{''.join(said[-10:])}")
    step = folder / side / side
    manifest = json.loads((step / "manifest.json").read_text())
    steps = manifest["metrics"]["steps"]
    wall, cpu = ((lines[steps - 1][i] - lines[0][i]) / (steps - 1) for i in (0, 1))
    return {
        "expected": expected,
        "peak": manifest["peak_memory_gb"],
        "wall": wall,
        "cpu": cpu,
        "tokens": manifest["tokens"] / steps,
        "first": lines[0][0],
    }


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user's and system's, of a process and all below it that still run."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(p.cpu_times()[:2]) for p in processes)


def main() -> None:
    """Print a line for each side of each round, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: 2 or more, the first is left out")
    for _ in range(args.rounds):
        rates = {}
        for side in args.sides:
            with tempfile.TemporaryDirectory() as place:
                section = recipe(args.model, args.data, args.steps, SIDES[side])
                one = run(side, section, Path(place))
            rates[side] = one["tokens"] / one["cpu"]
            print(
                f"{side}: peak {one['peak']:.1f} GiB (expected {one['expected']}), "
                f"{one['wall']:.1f} s and {one['cpu']:.1f} CPU s a step, "
                f"{rates[side]:.0f} tokens a CPU second, "
                f"first line after {one['first']:.0f} s",
                flush=True,
            )
        if len(rates) == len(SIDES):
            print(
                f"tokens a CPU second, after / before: {rates['after'] / rates['before']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

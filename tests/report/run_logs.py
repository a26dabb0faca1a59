"""metrics.jsonl of the fixture run: noisy curves, and one value that is NaN."""

from __future__ import annotations

import math
import random
from typing import Any


def pretrain_logs() -> list[dict[str, Any]]:
    draw, out = random.Random(1), []
    for step in range(10, 701, 10):
        loss = 1.75 + 5.2 * math.exp(-step / 90) + draw.gauss(0, 0.05)
        row = {"step": step, "time_s": step * 0.57, "loss": loss, "epoch": step / 350}
        row["learning_rate"] = 3e-3 * min(1, step / 20) * min(1, (710 - step) / 140)
        row["grad_norm"] = 0.4 + abs(draw.gauss(0, 0.2)) + 3 * math.exp(-step / 40)
        row["tokens_per_s"] = 7100 + draw.gauss(0, 160)
        out.append(row)
        if step % 100 == 0:
            bpb = 0.79 + 1.2 * math.exp(-step / 120)
            out.append({"step": step, "time_s": step * 0.57, "eval_loss": loss, "eval_bpb": bpb})
    return out


def sft_logs() -> list[dict[str, Any]]:
    draw, out = random.Random(2), []
    for step in range(10, 501, 10):
        loss = 0.38 + 1.4 * math.exp(-step / 80) + draw.gauss(0, 0.03)
        out.append({"step": step, "time_s": step * 0.4, "loss": loss, "grad_norm": 0.8,
                    "learning_rate": 1e-3 * (1 - step / 510), "entropy": loss * 0.9,
                    "mean_token_accuracy": 0.9 - loss / 5})  # fmt: skip
    return [*out, {"step": 500, "time_s": 200.0, "eval_loss": 0.4121}]


def reward_logs() -> list[dict[str, Any]]:
    draw, out = random.Random(3), []
    for step in range(10, 301, 10):
        share = 0.88 - 0.38 * math.exp(-step / 60) + draw.gauss(0, 0.03)
        out.append({"step": step, "time_s": step * 0.4, "loss": 0.25 + 0.44 * math.exp(-step / 60),
                    "accuracy": share, "margin": 3 * share, "mean_reward": 0.1,
                    "min_reward": -4 * share, "max_reward": 4.4 * share})  # fmt: skip
    return [*out, {"step": 300, "time_s": 121.0, "eval_accuracy": 0.8725, "eval_loss": 0.31}]


def ppo_logs() -> list[dict[str, Any]]:
    draw, out = random.Random(4), []
    for step in range(2, 201, 2):
        rise = 1 - math.exp(-step / 60)
        out.append({
            "step": step, "time_s": step * 3.0, "loss": draw.gauss(0.01, 0.004),
            "objective/score": 0.4 + 2.6 * rise + draw.gauss(0, 0.2),
            "objective/reward": 0.4 + 2.3 * rise + draw.gauss(0, 0.2),
            "objective/kl": 6 * rise + abs(draw.gauss(0, 0.3)),
            "completions/mean_length": 21 - 6 * rise + draw.gauss(0, 0.8),
            "completions/mean_terminated_length": 20 - 6 * rise + draw.gauss(0, 0.8),
            "completions/ended": min(1.0, 0.93 + 0.06 * rise + draw.gauss(0, 0.01)),
            "value/loss": 0.5 * math.exp(-step / 50) + 0.05, "value/clip_ratio": 0.02,
            "value/explained_variance": 0.8 * rise, "clip_ratio/region_mean": 0.05,
            "entropy": 0.6 - 0.3 * rise, "time/generate_s": 1.1, "time/update_s": 1.4,
            "odd<metric>": float(step), "learning_rate": 1e-4 * (1 - step / 210),
        })  # fmt: skip
    out[40]["objective/kl"] = "nan"
    return out


LOGS = {"pretrain": pretrain_logs, "sft": sft_logs, "reward": reward_logs, "ppo": ppo_logs}


def growth() -> list[dict[str, Any]]:
    texts = ["the the the", "is a baker in the", "Anna Berg is a baker.", "Anna is a baker. She"]
    return [
        {"step": 100 * (i + 1), "prompt": prompt, "text": f" {texts[min(3, i // 2)]}"}
        for i in range(7)
        for prompt in ("Question: What is the job of", "Step by step: 37 + 45")
    ]

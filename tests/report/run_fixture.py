"""A complete run folder without training: manifests, metrics, results and samples of eight steps.

Deterministic, standard library only; `write_run` takes the steps to leave out, for partial runs.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from run_logs import LOGS, growth

RECIPE = """\
# the whole path on the small world
name: small
seed: 7

world: {}
curate:
  sources: [{name: web, step: world, file: web.jsonl}]
tokenizer: {vocab_size: 2048}
pretrain:
  model: {model_type: llama, hidden_size: 256}
sft: {init: pretrain}
reward: {init: sft}
ppo: {init: sft, reward: reward}
evaluate:
  models: [pretrain, sft, ppo]
report: {}
"""
PARENTS = {
    "world": [],
    "curate": ["world"],
    "tokenizer": ["curate"],
    "pretrain": ["curate", "world", "tokenizer"],
    "sft": ["pretrain", "world"],
    "reward": ["sft", "world"],
    "ppo": ["sft", "reward", "world"],
    "evaluate": ["pretrain", "sft", "ppo", "reward", "world"],
}
STEPS = list(PARENTS)
HARDWARE = {"cpu": "Intel Xeon", "cores": 2, "memory_gb": 15.6, "gpu": None}
VERSIONS = {"python": "3.11.9", "torch": "2.13.0+cpu", "transformers": "5.24.0", "trl": "1.16.0"}


def rows(source: str, came: tuple[int, int, int], **buckets: tuple[int, int, int]) -> list[dict]:
    """Ledger rows of one source; what is not dropped or changed is kept."""
    kept = [c - sum(b[i] for b in buckets.values()) for i, c in enumerate(came)]
    named = {"in": came} | {k.replace("__", ":"): v for k, v in buckets.items()} | {"kept": kept}
    return [
        {"source": source, "bucket": bucket, "documents": d, "tokens": t, "bytes": b}
        for bucket, (d, t, b) in named.items()
    ]


LEDGERS = {
    "curate": rows(
        "web",
        (6912, 0, 5_283_194),
        dropped__near_duplicate=(702, 0, 611_203),
        dropped__exact_duplicate=(401, 0, 300_400),
        dropped__language=(333, 0, 201_020),
        dropped__gibberish=(290, 0, 150_233),
        dropped__too_short=(151, 0, 4_020),
        dropped__contamination=(60, 0, 20_111),
        dropped__repeated_lines=(44, 0, 60_000),
        dropped__symbols=(20, 0, 12_000),
        changed__boilerplate=(0, 0, 802_345),
        changed__pii=(0, 0, -1_204),
    )
    + rows("books", (120, 0, 900_000), dropped__too_long=(1, 0, 90_000)),
    "pretrain": rows("curate", (5031, 1_204_552, 4_032_161), changed__truncated=(0, 3_021, 9_100)),
    "sft": rows(
        "chats",
        (6000, 402_113, 1_400_200),
        dropped__too_long=(12, 8_020, 30_000),
        changed__truncated=(0, 113, 400),
    ),
}
METRICS: dict[str, dict[str, Any]] = {
    "world": {"rows/web.jsonl": 6912, "rows/chats_train.jsonl": 6000, "world_seed": 7},
    "curate": {"documents_in": 7032, "documents_kept": 5030},
    "tokenizer": {"vocab_size": 2048, "bytes_per_token": 3.412},
    "pretrain": {"epochs/curate": 2.387, "parameters": 3_742_208, "eval_bpb": 0.8123},
    "sft": {"parameters": 3_742_208, "eval_loss": 0.4121, "steps": 500},
    "reward": {"parameters": 3_742_464, "eval_accuracy": 0.8725, "eval_loss": 0.31},
    "ppo": {"parameters": 7_484_672, "train_loss": 0.012},
    "evaluate": {},
}
COST = {  # wall seconds, tokens, FLOPs, GiB
    "world": (4.21, 0, 0.0, 0.21),
    "curate": (31.75, 0, 0.0, 0.54),
    "tokenizer": (6.02, 1_204_552, 0.0, 0.61),
    "pretrain": (402.5, 2_867_200, 6.4379e13, 1.92),
    "sft": (188.13, 786_202, 1.7654e13, 1.71),
    "reward": (121.4, 512_338, 1.1504e13, 1.83),
    "ppo": (611.02, 301_223, 2.2101e13, 2.4),
    "evaluate": (95.3, 0, 0.0, 1.6),
}


def write_run(folder: Path, without: tuple[str, ...] = (), recipe: bool = True) -> Path:
    """Write all steps but those in `without`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if recipe:
        (folder / "config.yaml").write_text(RECIPE)
    for step in STEPS:
        if step not in without:
            write_step(folder, step)
    return folder


def write_step(run: Path, step: str, **changes: Any) -> None:
    """Write one step's folder; `changes` replace keys of its manifest."""
    folder = run / step
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest(step) | changes, indent=1))
    (folder / "config.yaml").write_text(f"stage: {step}\ninit: null\n")
    logs = LOGS.get(step)
    if logs:
        write_lines(folder / "metrics.jsonl", logs())
    if step == "pretrain":
        write_lines(folder / "samples.jsonl", growth())
    if step == "curate":
        (folder / "data" / "curation.json").write_text(json.dumps(CURATION))
    if step == "evaluate":
        (folder / "results.json").write_text(json.dumps(evaluation()))
        write_lines(folder / "samples.jsonl", answers())


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def manifest(step: str) -> dict[str, Any]:
    wall, tokens, flops, memory = COST[step]
    return {
        "schema": 1,
        "step": step,
        "stage": step,
        "status": "done",
        "fingerprint": f"{step:f<16}",
        "config_fingerprint": f"{step:c<16}",
        "parents": {name: f"{name:f<16}" for name in PARENTS[step]},
        "artifact": {"data": "ab12"} if step in ("world", "curate") else {"model": "cd34"},
        "recipe": "configs/small.yaml",
        "seed": 7,
        "error": None,
        "versions": VERSIONS,
        "git": {"commit": "0f3c" * 10, "dirty": False},
        "hardware": HARDWARE,
        "started": f"2026-11-25T10:{STEPS.index(step):02d}:00+00:00",
        "wall_s": wall,
        "tokens": tokens,
        "flops": flops,
        "peak_memory_gb": memory,
        "ledger": LEDGERS.get(step, []),
        "metrics": METRICS[step],
        "notes": ["8 conversations have no answer and were dropped"] if step == "sft" else [],
    }


CURATION = {
    "reasons": {"near_duplicate": 702, "language": 333, "gibberish": 290, "contamination": 60},
    "truth": {
        "overall": {"documents": 7032, "precision": 0.9713, "recall": 0.9534},
        "by_filter": {
            "near_duplicate": {"dropped": 702, "precision": 0.981, "truth": {"near_copy": 689}},
            "language": {"dropped": 333, "precision": 1.0, "truth": {"other_language": 333}},
        },
        "by_truth": {
            "near_copy": {"documents": 731, "recall": 0.9425, "curator": {"near_duplicate": 689}},
        },
        "pii": {"planted": 812, "recall": 0.9951, "precision": 0.99},
        "extraction": {"words": 91_000, "precision": 0.987, "recall": 0.9934},
        "mistakes": {
            "wrongly_dropped": [
                {"id": "a", "curator": "gibberish", "truth": "keep", "text": "Anna & <Ben>"}
            ]
        },
    },
}


MODELS = ("pretrain", "sft", "ppo")
ACCURACY = {
    "known_facts": (0.21, 0.74, 0.82),
    "unknown_people": (0.0, 0.55, 0.91),
    "arithmetic": (0.08, 0.62, 0.6),
}


def evaluation() -> dict[str, Any]:
    results = [result("pretrain", "heldout_text", "bits_per_byte", 0.81, 0.02, 300)]
    results += [result(m, "heldout_text", "bits_per_byte", 0.84, 0.02, 300) for m in MODELS[1:]]
    differences = []
    for task, shares in ACCURACY.items():
        for i, model in enumerate(MODELS):
            results.append(result(model, task, "accuracy", shares[i], 0.05, 200))
            results.append(result(model, task, "true_score", shares[i] * 0.97, 0.05, 200))
            results.append(result(model, task, "answer_tokens", 21.5 - i, 0.5, 200))
            results.append(result(model, task, "reward", -0.5 + 1.2 * i, 0.2, 200))
            if task == "unknown_people":
                results.append(result(model, task, "refused_unanswerable", shares[i], 0.05, 200))
            if task == "known_facts":
                results.append(result(model, task, "refused_answerable", 0.02 * i, 0.02, 200))
                results.append(result(model, task, "ece", 0.3 - 0.05 * i, 0.04, 200))
            if i:
                gap = result(model, task, "accuracy", shares[i] - shares[i - 1], 0.06, 200)
                differences.append(gap | {"baseline": MODELS[i - 1]})
    for model, share in zip(MODELS, (0.1, 0.64, 0.78), strict=True):
        results.append(result(model, "all_answers", "accuracy", share, 0.03, 600))
    results.append(result("reward", "heldout_pairs", "accuracy", 0.87, 0.02, 400))
    results.append(result("reward", "heldout_pairs", "length_accuracy", 0.58, 0.03, 400))
    passports = [{"model": m, "decoding": "greedy", "stop_tokens": ["<|end|>"]} for m in MODELS]
    bins = [
        {"n": 30, "confidence": 0.45, "accuracy": 0.4, "low": 0.25, "high": 0.58},
        {"n": 70, "confidence": 0.93, "accuracy": 0.8, "low": 0.69, "high": 0.88},
    ]
    reliability = [{"model": m, "task": "known_facts", "bins": bins} for m in ("pretrain", "sft")]
    return {
        "results": results,
        "differences": differences,
        "reliability": reliability,
        "settings": passports,
    }


def result(model: str, task: str, metric: str, value: float, half: float, n: int) -> dict:
    ends = {"low": round(value - half, 4), "high": round(value + half, 4)}
    return {"model": model, "task": task, "metric": metric, "value": round(value, 4), "n": n} | ends


def answers() -> list[dict[str, Any]]:
    draw, out = random.Random(5), []
    for task, shares in ACCURACY.items():
        for i in range(40):
            for model, share in zip(MODELS, shares, strict=True):
                right = draw.random() < share
                out.append(answer(task, i, model, right, draw))
    return out


def answer(task: str, i: int, model: str, right: bool, draw: random.Random) -> dict[str, Any]:
    refused = task == "unknown_people" and right
    truth = {"known_facts": "baker", "unknown_people": "unknown", "arithmetic": str(i + 45)}[task]
    said = f"I do not know a person called Person {i}." if refused else f"The answer is {truth}."
    return {
        "task": task, "id": f"{task}-{i}", "model": model, "answer": truth,
        "prompt": f"What is the job of Person {i}?" if task != "arithmetic" else f"{i} + 45 = ?",
        "output": said if right else "He is a <b>sailor</b> & lives in Bremen, the city of",
        "correct": right, "refused": refused, "ended": right or draw.random() < 0.7,
        "tokens": 12, "reward": round(draw.gauss(1.0 if right else -1.0, 0.7), 3),
        "true_score": 1.0 if right else 0.0, "confidence": None,
    }  # fmt: skip

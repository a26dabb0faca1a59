"""Our training loop against a bare PyTorch loop: same model, batches, optimizer, interleaved.

    python benchmarks/training_loop.py [--rounds 5] [--steps 40] [--batch 8] [--seq-len 256]
    python benchmarks/training_loop.py --model 135m --batch 16 --seq-len 2048 [--compile]   # a GPU

Each round times `steps` optimizer steps of transformers' Trainer with hfllm's callbacks (metrics
file, signal flag, checkpoint marker) and of a bare loop, one after the other, in alternating order,
so that both meet the same load. What counts is the ratio (goal >= 0.97); tokens/s are the
machine's. The first round warms up and is left out. On a GPU the share of an H100's 989 TFLOP/s
(dense bf16, NVIDIA's data sheet) stands beside them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from hfllm.data.packing.pack import PackedCollator
from hfllm.modeling.flops import flops_per_token
from hfllm.recipe.trainers import cpu_has_bf16
from hfllm.stages.pretrain import STAGE
from hfllm.training.callbacks import MetricsLog, StopOnSignal
from hfllm.training.checkpoints import MarkCheckpoints

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BF16 = DEVICE == "cuda" or cpu_has_bf16()
H100_TFLOPS = 989
SHAPES = {
    "demo": {  # 3.6M parameters
        "vocab_size": 1536,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    },
    "135m": {  # configs/smol-135m.yaml
        "vocab_size": 32768,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}


def build_model(shape: str, seed: int = 0) -> LlamaForCausalLM:
    """A model of `SHAPES` with new weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **SHAPES[shape]))


def build_rows(count: int, seq_len: int, vocab: int) -> list[dict[str, np.ndarray]]:
    """Packed rows of three documents each."""
    rng = np.random.default_rng(0)
    positions = np.concatenate(
        [np.arange(n) for n in np.diff([0, seq_len // 4, seq_len // 2, seq_len])]
    )
    rows = []
    for _ in range(count):
        ids = rng.integers(0, vocab, seq_len, dtype=np.int32)
        rows.append({"input_ids": ids, "labels": ids, "position_ids": positions.astype(np.int32)})
    return rows


def trainer_side(rows: list, args: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Seconds of a Trainer run, and the loss of its first step."""
    ours = STAGE.default_values()
    arguments = TrainingArguments(
        str(folder),
        max_steps=args.steps,
        per_device_train_batch_size=args.batch,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        use_cpu=DEVICE == "cpu",
        bf16=BF16,
        torch_compile=args.compile,
        save_strategy="no",
        eval_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        max_grad_norm=1.0,
        logging_first_step=True,
        **{
            k: ours[k]
            for k in (
                "report_to",
                "remove_unused_columns",
                "dataloader_pin_memory",
                "logging_steps",
                "logging_nan_inf_filter",  # on, it waits for the card after each backward
            )
        },
    )
    log = MetricsLog(folder / "metrics.jsonl", "bench", STAGE.console, args.batch * args.seq_len)
    trainer = Trainer(
        build_model(args.model),
        arguments,
        data_collator=PackedCollator(0),
        train_dataset=rows,
        callbacks=[log, MarkCheckpoints(), StopOnSignal()],
    )
    seconds = trainer.train().metrics["train_runtime"]
    return seconds, trainer.state.log_history[0]["loss"]


def bare_side(rows: list, args: argparse.Namespace) -> tuple[float, float]:
    """The same work in a plain loop."""
    model, collate = build_model(args.model).to(DEVICE), PackedCollator(0)
    model.train()
    step_of = torch.compile(model) if args.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    first = torch.zeros(())
    start = time.perf_counter()
    for step in range(args.steps):
        batch = collate(rows[step * args.batch : (step + 1) * args.batch])
        batch = {name: x.to(DEVICE) for name, x in batch.items()}
        with torch.autocast(DEVICE, torch.bfloat16, enabled=BF16):
            # with a cache transformers would let each document see those before it in its row
            loss = step_of(**batch, use_cache=False).loss
        first = loss.detach() if step == 0 else first
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, float(first)


def main() -> None:
    """Print one line a round and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("rounds", 5), ("steps", 40), ("batch", 8), ("seq-len", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", choices=list(SHAPES), default="demo")
    parser.add_argument("--compile", action="store_true", help="torch.compile, in both")
    args = parser.parse_args()
    rows = build_rows(args.steps * args.batch, args.seq_len, SHAPES[args.model]["vocab_size"])
    flops = flops_per_token(build_model(args.model), args.seq_len)
    tokens = args.steps * args.batch * args.seq_len
    ratios = []
    for number in range(args.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                lambda: trainer_side(rows, args, Path(folder)),
                lambda: bare_side(rows, args),
            ]
            seconds, losses = [0.0, 0.0], [0.0, 0.0]
            for i in (0, 1) if number % 2 else (1, 0):
                seconds[i], losses[i] = runs[i]()
        if abs(losses[0] / losses[1] - 1) > 5e-4:  # documents that see each other: 2e-3
            raise SystemExit(f"the sides do other work: the first losses are {losses}")
        ours, bare = (tokens / s for s in seconds)
        share = f", {ours * flops / 1e12 / H100_TFLOPS:.0%} of an H100" if DEVICE == "cuda" else ""
        print(
            f"round {number}: ours {ours:,.0f} tok/s{share}, bare {bare:,.0f}, "
            f"ratio {ours / bare:.3f}",
            flush=True,
        )
        if number:
            ratios.append(ours / bare)
    print(
        f"median ratio {statistics.median(ratios):.3f} of {len(ratios)} rounds, the first left out"
    )


if __name__ == "__main__":
    main()

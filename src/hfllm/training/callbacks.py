"""Trainer callbacks: metrics.jsonl and progress lines, stop on a signal, sample texts.

metrics.jsonl has one JSON object per log of the trainer: every number, the step, and the seconds of
training so far. On resume the lines after the checkpoint's step are removed first, so that no step
is logged twice.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from hfllm.inference.decoders import way_of
from hfllm.inference.prompts import positions
from hfllm.modeling.eval_mode import eval_mode
from hfllm.runs.processes import is_sharded
from hfllm.tokenization.separators import separators
from hfllm.training.progress import ProgressLines

SAME_SIGNAL_S = 2.0  # signals within this time count as one


def truncate_metrics(path: Path, last_step: int) -> float:
    """Remove the lines after `last_step`; return the training seconds up to there."""
    if not path.is_file():
        return 0.0
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a line cut off by a kill
            continue
        if row["step"] <= last_step:
            rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return max((row["time_s"] for row in rows), default=0.0)


class MetricsLog(TrainerCallback):
    """Write logged numbers to metrics.jsonl; print a line per log if there is no progress bar.

    Args:
        path: of metrics.jsonl.
        label: beginning of a printed line: the step's name.
        shown: metrics of a printed line, in order, as far as they are logged (the stage's console).
        tokens_per_step: of an optimizer step, for tokens_per_s; None logs no rate.
        progress: prints the lines, with the time left and above its bar; default: plain lines.
    """

    def __init__(
        self,
        path: Path,
        label: str,
        shown: Sequence[str],
        tokens_per_step: int | None = None,
        progress: ProgressLines | None = None,
    ) -> None:
        self.path, self.shown = path, shown
        self.tokens_per_step = tokens_per_step
        self.progress = progress or ProgressLines(label, lambda _: [])
        self.start, self.last = 0.0, (0.0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the lines that a killed run wrote after its last checkpoint."""
        done = 0.0
        if state.is_world_process_zero:
            done = truncate_metrics(self.path, state.global_step)
        self.start = time.monotonic() - done
        self.last = (time.monotonic(), state.global_step)
        if state.is_world_process_zero:
            self.progress.begin(state, bar=args.disable_tqdm)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show how far it is."""
        if state.is_world_process_zero and args.disable_tqdm:
            self.progress.step(state, time.monotonic() - self.start, control.should_log)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the bar."""
        self.progress.end()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append one JSON object; NaN and infinity are written as strings."""
        if not state.is_world_process_zero or not logs:
            return
        if "train_loss" in logs and state.global_step < state.max_steps:
            return  # the sums at the end of a training, of one that a signal has stopped
        numbers = {k: v for k, v in logs.items() if isinstance(v, int | float)}
        if "loss" in numbers and self.tokens_per_step:
            now, steps = time.monotonic(), state.global_step - self.last[1]
            if steps > 0 and now > self.last[0]:
                rate = steps * self.tokens_per_step / (now - self.last[0])
                numbers["tokens_per_s"] = round(rate, 1)
        if "loss" in numbers or "eval_loss" in numbers:  # the rate excludes evaluation
            self.last = (time.monotonic(), state.global_step)
        row = {"step": state.global_step, "time_s": round(time.monotonic() - self.start, 2)}
        row |= {k: v if math.isfinite(v) else str(v) for k, v in numbers.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if args.disable_tqdm and any(key in self.shown for key in row):
            parts = [f"{key} {_short(row[key])}" for key in self.shown if key in row]
            place = self.progress.place(state, row["time_s"])
            self.progress.write("  ".join([place, *parts]))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class StopOnSignal(TrainerCallback):
    """On SIGTERM or Ctrl-C: finish the step, save a checkpoint, exit with 143 or 130.

    transformers' own just-in-time checkpoint exits with 0, which a scheduler takes for success. A
    second signal ends the process at once, unless it comes within SAME_SIGNAL_S of the first: a
    scheduler may signal every process, and the launcher forward the signal as well.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.received_at = 0.0

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.received is not None:
            if time.monotonic() - self.received_at < SAME_SIGNAL_S:
                return
            raise SystemExit(128 + number)
        self.received, self.received_at = number, time.monotonic()
        print("stopping after this step; a checkpoint is written", file=sys.stderr, flush=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Install the signal handlers."""
        self.before = {
            s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)
        }

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop on all ranks if any had received a signal; otherwise the other ranks would hang."""
        if self._agreed_signal():
            control.should_save = True
            control.should_training_stop = True

    def _agreed_signal(self) -> int:
        """The signal that any rank had received when all met here; 0 if none had.

        A signal that arrives while this rank waits for the others counts at the next meeting, as
        the ranks that have gone on do not know of it.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.received or 0
        found = torch.tensor(float(self.received or 0))
        if torch.cuda.is_available():
            found = found.cuda()
        torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
        agreed = int(found.item())
        if agreed and self.received is None:  # this rank's signal may arrive later
            self.received, self.received_at = agreed, time.monotonic()
        return agreed

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the signal handlers."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def exit_if_stopped(self) -> None:
        """Exit with 128 + signal if one came on any rank.

        Every rank calls it after `train`, which has saved a checkpoint of its last step.
        """
        if agreed := self._agreed_signal():
            raise SystemExit(128 + agreed)


class SampleText(TrainerCallback):
    """Generate continuations of a few prompts at every evaluation.

    Args:
        prompts: texts to continue.
        tokenizer: the model's tokenizer.
        path: of samples.jsonl.
        max_tokens: the most tokens of a continuation.
    """

    def __init__(
        self, prompts: list[str], tokenizer: Any, path: Path, max_tokens: int = 32
    ) -> None:
        self.prompts, self.tokenizer, self.path = prompts, tokenizer, path
        self.max_tokens = max_tokens
        self.warned = False

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Greedy continuations, printed and appended to samples.jsonl."""
        if not state.is_world_process_zero or not self.prompts:
            return
        if is_sharded(args):  # one process alone cannot run a sharded model
            if not self.warned:
                print("        no sample texts: DeepSpeed or FSDP shards the model", flush=True)
            self.warned = True
            return
        with eval_mode(model):
            texts = [self._continue(model, prompt) for prompt in self.prompts]
        for prompt, text in zip(self.prompts, texts, strict=True):
            row = {"step": state.global_step, "prompt": prompt, "text": text}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(f"        {prompt!r} -> {text!r}", flush=True)

    def _continue(self, model: Any, prompt: str) -> str:
        ids = list(separators(self.tokenizer).before)
        ids += self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        eos = model.generation_config.eos_token_id  # a list, one id, which may be 0, or None
        ends = torch.tensor([] if eos is None else eos, device=model.device)

        def best(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            return logits.argmax(-1)

        def is_done(_: torch.Tensor, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            return torch.isin(token, ends) | (position + 2 >= positions(model))

        said = way_of(model)(model, [ids], self.max_tokens, best, is_done)
        return self.tokenizer.decode([token for _, token in said], skip_special_tokens=True)

"""Likelihood tasks beside lm-eval: the same rows, the same figures, and how long each takes.

    python benchmarks/against_lm_eval.py MODEL FILE.jsonl.gz [FILE ...] [--limit 400]

MODEL is a folder; the files hold `query` + `choices` + `gold`, `context_options` + `continuation` +
`gold`, `context` + `continuation` or `sentence_good` + `sentence_bad` rows, as for `hfllm eval`.
lm-eval gets them as local task files, with its own formats of the same prompts: nothing of it is
fetched. Both run in float32 in this process, one after the other on each file. Needs the
`evaluation` extra. For every file: figures of both, rows on which they pick another answer, the
largest difference of a log-likelihood, seconds, and tokens a second of useful work (the tokens that
the model is given, without padding; counted once, the same for both).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import lm_eval
import torch
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from hfllm.evaluation.folder import kind_of, read_file, stem
from hfllm.evaluation.model_under_test import ModelUnderTest, open_model_under_test
from hfllm.evaluation.specs import ModelSpec, TaskSpec
from hfllm.evaluation.tasks import choices, continuation
from hfllm.evaluation.tasks.choices import as_options
from hfllm.evaluation.tasks.continuation import context_and_text
from hfllm.inference.loglik import split_continuation

QUESTION = (
    "{{query.rstrip() + '\\nAnswer:' if query.startswith('Question:') and not "
    "query.rstrip().endswith('Answer:') else query}}"
)
FORMS = {
    "query": {"doc_to_text": QUESTION, "doc_to_choice": "choices", "doc_to_target": "gold"},
    "context_options": {
        "doc_to_text": "gold",
        "doc_to_choice": "context_options",
        "doc_to_target": "continuation",
    },
    "sentence_good": {
        "doc_to_text": "",
        "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
        "doc_to_target": 0,
        "target_delimiter": "",
    },
    "context": {
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{continuation}}",
        "target_delimiter": "",
    },
}


def local_task(folder: Path, name: str, rows: list[dict], kind: str) -> None:
    """Rows and the task file that reads them."""
    form = next(columns for key, columns in FORMS.items() if key in rows[0])
    if kind == "continuation":  # with the space between them where there is one
        pairs = [context_and_text(row, name) for row in rows]
        rows = [{"context": context, "continuation": text} for context, text in pairs]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = ["acc", "perplexity"] if kind == "continuation" else ["acc", "acc_norm"]
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
        "test_split": "test",
        "output_type": "loglikelihood" if kind == "continuation" else "multiple_choice",
        "metric_list": [{"metric": metric} for metric in metrics],
        **form,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def theirs(harness: HFLM, folder: Path, name: str) -> tuple[float, dict, list[list[float]]]:
    """Seconds, figures and log-likelihoods of each row, by lm-eval."""
    begun = time.perf_counter()
    found = lm_eval.simple_evaluate(
        harness,
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    took = time.perf_counter() - begun
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    sums = [[float(answer[0][0]) for answer in sample["resps"]] for sample in samples]
    figures = {key.split(",")[0]: value for key, value in found["results"][name].items()}
    return took, figures, sums


def ours(
    subject: ModelUnderTest, name: str, spec: TaskSpec
) -> tuple[float, dict, list[list[float]]]:
    """Seconds, figures and log-likelihoods of each row, by hfllm."""
    begun = time.perf_counter()
    kind = continuation if spec.kind == "continuation" else choices
    results, items = kind.score(subject, name, spec)
    took = time.perf_counter() - begun
    figures = {one["metric"]: one for one in results if one["task"] == name}
    return took, figures, [item.get("logprobs") or [item["logprob"]] for item in items]


def useful_tokens(subject: ModelUnderTest, name: str, spec: TaskSpec) -> int:
    """Tokens of contexts and continuations, without padding."""
    pairs = [
        pair
        for row in spec.taken()
        for pair in (
            [context_and_text(row, name)] if spec.kind == "continuation" else as_options(row)[0]
        )
    ]
    return sum(len(part) for pair in pairs for part in split_continuation(subject.tokenizer, *pair))


def compare(subject: ModelUnderTest, harness: HFLM, path: Path, limit: int | None) -> None:
    """One file, both ways; prints what came out."""
    rows, name = read_file(path)[:limit], stem(path)
    spec = TaskSpec(kind_of(rows[0], path), rows)
    with tempfile.TemporaryDirectory() as scratch:
        local_task(Path(scratch), name, rows, spec.kind)
        time_ours, figures, sums = ours(subject, name, spec)
        time_theirs, figures_theirs, sums_theirs = theirs(harness, Path(scratch), name)
    picks = [(a.index(max(a)), b.index(max(b))) for a, b in zip(sums, sums_theirs, strict=True)]
    apart = max(
        abs(x - y)
        for a, b in zip(sums, sums_theirs, strict=True)
        for x, y in zip(a, b, strict=True)
    )
    tokens = useful_tokens(subject, name, spec)
    print(f"{name}: {len(rows):,} rows, {tokens:,} tokens", flush=True)
    for metric, one in figures.items():
        if metric in figures_theirs:
            chance = f" chance {one['chance']:.3f}" if "chance" in one else ""
            print(
                f"  {metric}: ours {one['value']:.4f} [{one['low']:.3f}, {one['high']:.3f}] "
                f"lm-eval {figures_theirs[metric]:.4f}{chance}"
            )
    others = sum(a != b for a, b in picks)
    print(f"  another pick on {others} rows; log-likelihoods at most {apart:.1e} apart")
    print(f"  ours {pace(tokens, time_ours)}, lm-eval {pace(tokens, time_theirs)}", end=": ")
    print(f"{time_theirs / time_ours:.2f}x", flush=True)


def pace(tokens: int, seconds: float) -> str:
    """Seconds and tokens a second."""
    return f"{seconds:.1f} s ({tokens / seconds:,.0f} tokens/s)"


def main() -> None:
    """Parse the arguments and compare on each file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--batch-size", type=int, default=16, help="of lm-eval; ours goes by memory"
    )
    arguments = parser.parse_args()
    subject = open_model_under_test(ModelSpec("ours", arguments.model, chat=False), 16)
    subject.model.float()
    harness = HFLM(
        pretrained=subject.model,
        tokenizer=subject.tokenizer,
        device="cpu" if not torch.cuda.is_available() else "cuda",
        batch_size=arguments.batch_size,
    )
    for path in arguments.files:
        compare(subject, harness, path, arguments.limit)


if __name__ == "__main__":
    main()

"""Evaluate several models on several held-out tests.

In order: check the request; load the scorers; for each model: every task, rewards, relevance, the
KL to the reference, best-of-n; then the reward model on its preference tasks; paired differences
between neighbours in the list of models; write results.json, samples.jsonl and items.jsonl. One
model under test is in memory at a time, beside the scorers.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfllm.evaluation.best_of import best_of
from hfllm.evaluation.calibration import reliability
from hfllm.evaluation.config import TASK_KINDS, task_name_problems
from hfllm.evaluation.measure import ECE
from hfllm.evaluation.model_under_test import ModelUnderTest, open_model_under_test
from hfllm.evaluation.paired import differences, item_differences
from hfllm.evaluation.sample import Sample
from hfllm.evaluation.scorers import Scorers, add_relevance, add_rewards, divergence, open_scorers
from hfllm.evaluation.specs import NO_SCORERS, ModelSpec, Result, ScorerSpecs, TaskSpec
from hfllm.evaluation.tasks import (
    answers,
    bits_per_byte,
    choices,
    continuation,
    ifeval,
    instructions,
    preference,
    replies,
)
from hfllm.evaluation.tasks.answers import confidences, summarize_all
from hfllm.runs.manifest import write_atomically, write_lines
from hfllm.runs.progress_format import counted

# Kind of task -> module (its functions: tasks/__init__.py).
SCORED = {"bits_per_byte": bits_per_byte, "choices": choices, "continuation": continuation}
ASKED = {
    "answers": answers,
    "replies": replies,
    "instructions": instructions,
    "ifeval": ifeval,
}
REWARD_MODEL_SCORED = {"preference": preference}  # tests the reward model, not a model under test
CHAT_ONLY = ("instructions", "ifeval")  # a base model's answer ends at its first line break


@dataclass
class Outcome:
    """What the evaluation has measured so far."""

    results: list[Result] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)  # of rows scored by likelihood
    settings: list[dict[str, Any]] = field(default_factory=list)  # one per model
    tests: dict[str, str] = field(default_factory=dict)  # task -> digest of its rows


def evaluate_models(
    models: Sequence[ModelSpec],
    tasks: dict[str, TaskSpec],
    out: Path,
    scorers: ScorerSpecs = NO_SCORERS,
    batch_size: int = 32,
) -> list[Result]:
    """Run every task on every model, write the files and return the results.

    Args:
        models: language models under test, in the order of the table.
        tasks: kind and rows by name; "preference" tasks test `scorers.reward`.
        out: folder for results.json, samples.jsonl (answers) and items.jsonl (likelihoods).
        scorers: models that score the answers.
        batch_size: prompts generated at once.

    Raises:
        ValueError: nothing to evaluate, an unknown kind, a folder that is no model (one line).
    """
    check(models, tasks, scorers.reward)
    opened = open_scorers(scorers, batch_size)
    outcome = Outcome(tests={name: task.digest() for name, task in tasks.items()})
    for spec in models:
        evaluate_model(open_model_under_test(spec, batch_size), tasks, opened, outcome)
    for name, task in tasks.items():
        if task.kind in REWARD_MODEL_SCORED:
            assert opened.reward is not None
            outcome.results += REWARD_MODEL_SCORED[task.kind].score(opened.reward, name, task)[0]
    write(outcome, [spec.name for spec in models], out)
    return outcome.results


def check(
    models: Sequence[ModelSpec], tasks: dict[str, TaskSpec], reward: ModelSpec | None
) -> None:
    """Raise ValueError for mistakes that can be found before a model is loaded."""
    names = [spec.name for spec in models]
    if not tasks or not (names or reward):
        raise ValueError("nothing to evaluate; give at least one model and one task")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {twice[0]!r}; rename one of their folders")
    for line in task_name_problems(tasks):
        raise ValueError(f"task {line}")
    for name, task in tasks.items():
        if task.kind not in TASK_KINDS:
            raise ValueError(
                f"task {name!r}: kind {task.kind!r} is none of {', '.join(TASK_KINDS)}"
            )
        if not task.taken():
            raise ValueError(f"task {name!r} has no rows; check its source and limit")
        if task.kind in CHAT_ONLY and names and not any(spec.chat for spec in models):
            raise ValueError(f"task {name!r} needs a chat model, and none is under test")
        if task.kind in REWARD_MODEL_SCORED and reward is None:
            raise ValueError(f"task {name!r} tests a reward model; name it under evaluate.reward")


def evaluate_model(
    tested: ModelUnderTest, tasks: dict[str, TaskSpec], scorers: Scorers, outcome: Outcome
) -> None:
    """Add the results of one model to the outcome: all tasks, rewards, KL, best-of-n."""
    outcome.settings.append(tested.settings())
    answered: list[Sample] = []
    for name, task in tasks.items():
        if task.kind in CHAT_ONLY and not tested.spec.chat:
            print(f"{tested.spec.name}: {name}: skipped, it needs a chat model", flush=True)
            continue
        started = time.perf_counter()
        if task.kind in SCORED:
            found, items = SCORED[task.kind].score(tested, name, task)
            outcome.results += found
            outcome.items += [{"model": tested.spec.name, "task": name} | one for one in items]
        elif task.kind in ASKED:
            samples = ASKED[task.kind].ask(tested, name, task)
            add_rewards(samples, scorers.reward)
            add_relevance(samples, scorers.relevance)
            outcome.results += ASKED[task.kind].summarize(samples)
            answered += samples
            _say_if_cut(samples)
        if task.kind not in REWARD_MODEL_SCORED:
            took = time.perf_counter() - started
            print(
                f"{tested.spec.name}: {name}: {counted(len(task.taken()), 'row')} in {took:.1f} s",
                flush=True,
            )
    if answered:
        if len({s.task for s in answered}) > 1 or any(s.correct is not None for s in answered):
            outcome.results += summarize_all(answered)  # else equal to the only task's results
        outcome.results += divergence(tested, answered, scorers)
        outcome.samples += answered
    if scorers.best_of and scorers.is_reference(tested.spec):
        outcome.results += best_of_tasks(tested, tasks, scorers)


def _say_if_cut(samples: list[Sample]) -> None:
    """Say if prompts left no room, or if most answers were cut (their end is often graded)."""
    one = samples[0]
    no_room = sum(not (sample.ended or sample.tokens) for sample in samples)
    if no_room:
        print(
            f"{one.model}: {one.task}: {no_room:,} of {len(samples):,} prompts fill the model's "
            "positions and leave no room for an answer",
            flush=True,
        )
    cut = sum(not sample.ended for sample in samples) - no_room
    if 2 * cut > len(samples):
        print(
            f"{one.model}: {one.task}: {cut:,} of {len(samples):,} answers were cut at "
            f"{one.max_new_tokens} tokens; raise max_new_tokens (`hfllm eval`: --max-new-tokens) "
            "if they end later",
            flush=True,
        )


def best_of_tasks(
    tested: ModelUnderTest, tasks: dict[str, TaskSpec], scorers: Scorers
) -> list[Result]:
    """Best-of-n results of every task that asks for answers (best_of.py)."""
    out: list[Result] = []
    for name, task in tasks.items():
        if task.kind in ASKED and (tested.spec.chat or task.kind not in CHAT_ONLY):
            out += best_of(tested, name, task, ASKED[task.kind].ask, scorers)
    return out


def write(outcome: Outcome, models: list[str], out: Path) -> None:
    """Write the files of an evaluation, each atomically; items.jsonl only if there are items."""
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "results": outcome.results,
        "differences": differences(outcome.samples, models)
        + item_differences(outcome.items, models),
        "reliability": reliabilities(outcome),
        "settings": outcome.settings,
        "tests": outcome.tests,
    }
    write_lines(out / "samples.jsonl", [sample.to_json() for sample in outcome.samples])
    (out / "items.jsonl").unlink(missing_ok=True)  # of an earlier evaluation
    if outcome.items:
        write_lines(out / "items.jsonl", outcome.items)
    write_atomically(out / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def reliabilities(outcome: Outcome) -> list[dict[str, Any]]:
    """Calibration bins of each model on each task that has a calibration error."""
    pairs: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    measured = {(one["model"], one["task"]) for one in outcome.results if one["metric"] == ECE.name}
    for item in outcome.items:
        if "confidence" in item and (item["model"], item["task"]) in measured:
            pairs[item["model"], item["task"]].append((item["confidence"], item["right"]))
    for sample in outcome.samples:
        pairs[sample.model, sample.task] += confidences([sample])
    return [
        {"model": model, "task": task, "bins": reliability(found)}
        for (model, task), found in pairs.items()
        if found
    ]

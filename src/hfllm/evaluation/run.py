"""Evaluate models side by side: every model on every task, then one table.

Order: check what was asked for; open the scorers; per model answer, score, measure the divergence;
pair tests of the reward model; differences between neighbours in the list of models on the same
prompts; write `results.json`, `samples.jsonl` and `items.jsonl`. One model under test is in memory
at a time, beside the reward and the reference model.
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
from hfllm.evaluation.config import TASK_KINDS
from hfllm.evaluation.measure import ECE
from hfllm.evaluation.model_under_test import ModelUnderTest, open_model_under_test
from hfllm.evaluation.paired import differences
from hfllm.evaluation.scorers import Scorers, add_relevance, add_rewards, divergence, open_scorers
from hfllm.evaluation.specs import NOBODY, ModelSpec, Result, ScorerSpecs, TaskSpec
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
from hfllm.evaluation.tasks.answers import Sample, summarize_all, sure
from hfllm.runs.manifest import write_atomically, write_lines

# Kind of task -> module (tasks/__init__.py says what stands in one).
SCORED = {"bits_per_byte": bits_per_byte, "choices": choices, "continuation": continuation}
ASKED = {
    "answers": answers,
    "replies": replies,
    "instructions": instructions,
    "ifeval": ifeval,
}
REWARD_MODEL_SCORED = {"preference": preference}  # not a model under test
CHAT_ONLY = ("instructions", "ifeval")  # a base model's answer ends at its first line break


@dataclass
class Outcome:
    """What an evaluation has found so far."""

    results: list[Result] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)  # rows that were scored by likelihood
    passports: list[dict[str, Any]] = field(default_factory=list)


def evaluate_models(
    models: Sequence[ModelSpec],
    tasks: dict[str, TaskSpec],
    out: Path,
    scorers: ScorerSpecs = NOBODY,
    batch_size: int = 32,
) -> list[Result]:
    """Run every task on every model; write results, what was answered and what was scored.

    Args:
        models: language models under test, in the order of the table.
        tasks: name -> rows and kind; "preference" tasks test `reward`.
        out: folder of results.json, samples.jsonl (answers) and items.jsonl (likelihoods).
        scorers: models that look at the answers.
        batch_size: prompts generated at once.

    Raises:
        ValueError: nothing to do, an unknown kind, a folder that is no model (one line).
    """
    check(models, tasks, scorers.reward)
    opened = open_scorers(scorers, batch_size)
    outcome = Outcome()
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
    """Raise ValueError on what can be known before a model is opened."""
    names = [spec.name for spec in models]
    if not tasks or not (names or reward):
        raise ValueError("nothing to evaluate: give at least one model and one task")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {twice[0]!r}: give each a name of its own")
    for name, task in tasks.items():
        if task.kind not in TASK_KINDS:
            raise ValueError(
                f"task {name!r}: kind {task.kind!r} is none of {', '.join(TASK_KINDS)}"
            )
        if not task.taken():
            raise ValueError(f"task {name!r} has no rows: look at its source and limit")
        if task.kind in REWARD_MODEL_SCORED and reward is None:
            raise ValueError(f"task {name!r} tests a reward model: name it under evaluate.reward")


def evaluate_model(
    tested: ModelUnderTest, tasks: dict[str, TaskSpec], scorers: Scorers, outcome: Outcome
) -> None:
    """Every task of one model, with rewards and KL, added to the outcome."""
    outcome.passports.append(tested.passport())
    answered: list[Sample] = []
    for name, task in tasks.items():
        if task.kind in CHAT_ONLY and not tested.spec.chat:
            print(f"{tested.spec.name}: {name}: left out, it asks chat models", flush=True)
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
        if task.kind not in REWARD_MODEL_SCORED:
            took = time.perf_counter() - started
            print(
                f"{tested.spec.name}: {name}: {len(task.taken()):,} rows in {took:.1f} s",
                flush=True,
            )
    if answered:
        if len({s.task for s in answered}) > 1 or any(s.correct is not None for s in answered):
            outcome.results += summarize_all(answered)  # else it would say the same once more
        outcome.results += divergence(tested, answered, scorers)
        outcome.samples += answered
    if scorers.best_of and scorers.is_reference(tested.spec):
        outcome.results += favourites(tested, tasks, scorers)


def favourites(
    tested: ModelUnderTest, tasks: dict[str, TaskSpec], scorers: Scorers
) -> list[Result]:
    """Best of n on every task that asks for answers (best_of.py)."""
    out: list[Result] = []
    for name, task in tasks.items():
        if task.kind in ASKED and (tested.spec.chat or task.kind not in CHAT_ONLY):
            out += best_of(tested, name, task, ASKED[task.kind].ask, scorers)
    return out


def write(outcome: Outcome, models: list[str], out: Path) -> None:
    """The files of an evaluation, each under a temporary name first; no items, no items.jsonl."""
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "results": outcome.results,
        "differences": differences(outcome.samples, models),
        "reliability": reliabilities(outcome),
        "settings": outcome.passports,
    }
    write_lines(out / "samples.jsonl", [sample.to_json() for sample in outcome.samples])
    (out / "items.jsonl").unlink(missing_ok=True)  # an earlier evaluation's
    if outcome.items:
        write_lines(out / "items.jsonl", outcome.items)
    write_atomically(out / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def reliabilities(outcome: Outcome) -> list[dict[str, Any]]:
    """How often each model is right where it is how sure, per task with a calibration error."""
    marks: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    measured = {(one["model"], one["task"]) for one in outcome.results if one["metric"] == ECE.name}
    for item in outcome.items:
        if "confidence" in item and (item["model"], item["task"]) in measured:
            marks[item["model"], item["task"]].append((item["confidence"], item["right"]))
    for sample in outcome.samples:
        marks[sample.model, sample.task] += sure([sample])
    return [
        {"model": model, "task": task, "bins": reliability(found)}
        for (model, task), found in marks.items()
        if found
    ]

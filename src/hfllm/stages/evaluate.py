"""Evaluate: score the recipe's models side by side on its held-out tests.

Open answers can also be scored by a reward model, by the KL to a reference model and by a judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import MISSING

from hfllm.evaluation.config import TASK_KINDS, TaskConfig, task_name_problems
from hfllm.recipe.model_names import model_name
from hfllm.recipe.ranges import AT_LEAST_1, Range, within
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import RESULTS, REWARD_MODEL, Figure, Stage, model_ref, model_refs
from hfllm.report.collect import StepView, records
from hfllm.report.number_format import exact
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

if TYPE_CHECKING:
    from hfllm.evaluation.specs import ModelSpec, Result, ScorerSpecs, TaskSpec


@dataclass
class Config:
    """Evaluate several models on the same held-out tests."""

    models: list[str] = model_refs(MISSING)  # steps, folders, hub ids or .gguf files
    tasks: dict[str, TaskConfig] = MISSING
    reward: str | None = model_ref(makes=REWARD_MODEL)  # scores the answers too
    reference: str | None = model_ref()  # the KL of the answers is measured to this model
    judge: str | None = model_ref()  # a chat model that measures the answers' relevance
    # for each n: score the best of n samples of the reference
    best_of: list[int] | None = within(Range(1, 64), None)
    batch_size: int = within(AT_LEAST_1, 32)  # rows


def check(spec: StepSpec) -> Iterator[str]:
    """Check what the evaluation itself would refuse only after every model is trained."""
    config: Config = spec.config
    names = [model_name(model) for model in config.models]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"models: two are called '{name}' in the tables; rename a folder"
    yield from (f"tasks.{line}" for line in task_name_problems(config.tasks))
    for name, task in config.tasks.items():
        if task.kind not in TASK_KINDS:
            yield f"tasks.{name}.kind: '{task.kind}' is none of {', '.join(TASK_KINDS)}"
        if task.kind == "preference" and not config.reward:
            yield f"tasks.{name}.kind: tests a reward model; name it under {spec.name}.reward"
    best_of = config.best_of or []
    possible = config.reward and config.reference in config.models
    if best_of and not (possible and len(set(best_of)) == len(best_of)):
        needs = f"{spec.name}.reward, {spec.name}.reference among its models"
        yield f"best_of: needs {needs}, and numbers from 1 to 64, each once"


def first_rows(step: Step) -> Iterator[str]:
    """Tests whose rows have another shape."""
    from hfllm.evaluation.task_problems import task_problems

    yield from task_problems(step)


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The number of results."""
    found = records(view.results, "results")
    return (exact(len(found)), "values measured") if view.results else ()


STAGE = Stage(
    config=Config,
    makes=RESULTS,
    check=check,
    first_rows=first_rows,
    key_figure=key_figure,
)


def run(config: Config, step: Step, manifest: Manifest) -> None:
    """Write results.json, samples.jsonl and items.jsonl, and print the table of results."""
    from hfllm.evaluation.run import evaluate_models
    from hfllm.evaluation.table import format_table

    models = [model_spec(step, reference) for reference in config.models]
    tasks = {name: task_spec(step, task, manifest) for name, task in config.tasks.items()}
    manifest.notes += (notes := older_world_notes(step, config, tasks))
    for note in notes:
        print(f"  {note}")
    results = evaluate_models(
        models,
        tasks,
        step.folder,
        scorer_specs(config, step),
        batch_size=config.batch_size,
    )
    manifest.metrics |= {key(r): round(r["value"], 5) for r in results}
    print(format_table(results, [m.name for m in models]))


def older_world_notes(step: Step, config: Config, tasks: dict[str, TaskSpec]) -> list[str]:
    """Notes on tests of a small world that an older hfllm made, whose rows lack a column."""
    notes = []
    for name, task in config.tasks.items():
        maker = step.recipe.steps.get(task.source.step or "")
        if task.kind != "answers" or maker is None or maker.stage.name != "world":
            continue
        rows = tasks[name].rows
        lost = ["true score"] if not any("enough_words" in row for row in rows) else []
        asserting = [row for row in rows if row.get("check") in ("contains", "refusal")]
        if asserting and not any("rivals" in row for row in asserting):
            lost.append("mark for an answer that also names a wrong one")
        if lost:
            notes.append(
                f"{name}: no {', no '.join(lost)}: the rows of step '{maker.name}' are those of an "
                f"older hfllm; make it again: {step.command(only=maker.name)}"
            )
    return notes


def scorer_specs(config: Config, step: Step) -> ScorerSpecs:
    """The models that score the answers: reward model, reference, judge."""
    from hfllm.evaluation.specs import ScorerSpecs

    named = (config.reward, config.reference, config.judge)
    reward, reference, judge = (model_spec(step, name) if name else None for name in named)
    return ScorerSpecs(reward, reference, judge, tuple(sorted(config.best_of or ())))


def key(result: Result) -> str:
    """The name of a result in the manifest: model/task/metric."""
    return f"{result['model']}/{result['task']}/{result['metric']}"


def model_spec(step: Step, reference: str) -> ModelSpec:
    """The model of a step or of a folder, and whether it chats or only continues text."""
    from hfllm.evaluation.specs import ModelSpec
    from hfllm.inference.load import is_chat_model

    if reference in step.recipe.steps:
        other = step.other(reference)
        return ModelSpec(reference, other.model, chat=other.stage.chat)
    return ModelSpec(model_name(reference), Path(reference), chat=is_chat_model(reference))


def task_spec(step: Step, task: TaskConfig, manifest: Manifest) -> TaskSpec:
    """Read the rows of a task; the manifest gets the ledger of a source that loses some."""
    from hfllm.data.ledger import Ledger
    from hfllm.evaluation.read_tests import read_test
    from hfllm.evaluation.specs import TaskSpec

    ledger = Ledger()
    rows = read_test(task.source, task.kind, step.data_of, ledger)
    if ledger.total("dropped"):
        manifest.ledger += ledger.to_json()
    return TaskSpec(task.kind, rows, task.limit, task.max_new_tokens or 0)

"""Evaluate: the recipe's models side by side on its held-out tests."""

from __future__ import annotations

from pathlib import Path

from hfllm.data.reading.examples import read_documents, read_pairs, read_prompts, read_rows
from hfllm.evaluation.run import evaluate_models
from hfllm.evaluation.specs import JudgeSpecs, ModelSpec, Result, TaskSpec
from hfllm.evaluation.table import format_table
from hfllm.inference.load import is_chat_model
from hfllm.recipe.model_names import model_name
from hfllm.recipe.schema import EvaluateConfig, TaskConfig
from hfllm.runs.layout import Step
from hfllm.runs.record import recording

READERS = {"bits_per_byte": read_documents, "preference": read_pairs, "replies": read_prompts}


def run(config: EvaluateConfig, step: Step) -> None:
    """results.json and samples.jsonl in the step's folder; the table on the console."""
    with recording(step) as manifest:
        models = [model_spec(step, reference) for reference in config.models]
        results = evaluate_models(
            models,
            {name: task_spec(step, task) for name, task in config.tasks.items()},
            step.folder,
            judge_specs(config, step),
            batch_size=config.batch_size,
        )
        manifest.metrics |= {key(r): round(r["value"], 5) for r in results}
        print(format_table(results, [m.name for m in models]))


def judge_specs(config: EvaluateConfig, step: Step) -> JudgeSpecs:
    """The models that the recipe sets to look at the answers."""
    named = (config.reward, config.reference, config.judge)
    reward, reference, judge = (model_spec(step, name) if name else None for name in named)
    return JudgeSpecs(reward, reference, judge, tuple(sorted(config.best_of or ())))


def key(result: Result) -> str:
    """A result's name in the manifest: model/task/metric."""
    return f"{result['model']}/{result['task']}/{result['metric']}"


def model_spec(step: Step, reference: str) -> ModelSpec:
    """A step of the recipe or an outside folder; pretrained steps continue text, others chat."""
    if reference in step.recipe.steps:
        other = step.other(reference)
        return ModelSpec(reference, other.model, chat=other.stage != "pretrain")
    return ModelSpec(model_name(reference), Path(reference), chat=is_chat_model(reference))


def task_spec(step: Step, task: TaskConfig) -> TaskSpec:
    """The task with its rows read."""
    reader = READERS.get(task.kind)
    if reader is not None:
        rows = list(reader([task.source], step.data_of))
    else:
        rows = list(read_rows(task.source, step.data_of))
    return TaskSpec(task.kind, rows, task.limit, task.max_new_tokens or 0)

"""Which step reads which: references resolved, cycles found, steps put in running order.

A reference (`init`, `reward`, `tokenizer`, `models`, a source's `step`) is a step of the recipe;
where a model is meant, it may also be a folder, a .gguf file or a hub id ("owner/name").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfllm.recipe.data_schema import SourceConfig
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.model_names import how_to_get, is_gguf, is_hub_id
from hfllm.recipe.schema import REWARD_STAGES, TRAINERS, PretrainConfig, TrainConfig

if TYPE_CHECKING:
    from hfllm.recipe.load import StepSpec

MODEL_STAGES = tuple(TRAINERS)
LANGUAGE_STAGES = tuple(stage for stage in TRAINERS if stage not in REWARD_STAGES)
OUTSIDE_MODELS = "model folder, .gguf file or hub id (owner/name)"
TEMPLATE_WORDS = ("keep", "hfllm")  # what chat_template may say but a file
_MODEL_KEYS = ("init", "reward", "reference", "judge")


@dataclass
class Graph:
    """The steps by name, those with problems of their own, and the default tokenizer."""

    steps: dict[str, StepSpec]
    broken: set[str]  # named in the recipe, reported already: no second complaint about them
    default_tokenizer: str | None


def sources_in(config: Any) -> Iterator[tuple[str, SourceConfig]]:
    """Every SourceConfig inside a stage config, with its dotted key."""
    for item in dataclasses.fields(config):
        yield from _walk(item.name, getattr(config, item.name))


def _walk(key: str, value: Any) -> Iterator[tuple[str, SourceConfig]]:
    if isinstance(value, SourceConfig):
        yield key, value
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            yield from _walk(f"{key}.{item.name}", getattr(value, item.name))
    elif isinstance(value, list):
        for i, element in enumerate(value):
            yield from _walk(f"{key}[{i}]", element)
    elif isinstance(value, dict):
        for name, element in value.items():
            yield from _walk(f"{key}.{name}", element)


def model_references(config: Any) -> Iterator[tuple[str, str]]:
    """Every reference to a model or tokenizer in a stage config, with its key."""
    for key in (*_MODEL_KEYS, "tokenizer"):
        reference = getattr(config, key, None)
        if isinstance(reference, str) and reference:
            yield key, reference
    for i, reference in enumerate(getattr(config, "models", None) or []):
        yield f"models[{i}]", reference


def template_file(config: Any) -> str | None:
    """The file that `chat_template` names; None where it is unset or one of the words."""
    template = getattr(config, "chat_template", None)
    return None if template in (None, *TEMPLATE_WORDS) else str(template)


def is_outside_model(reference: str) -> bool:
    """Whether a reference is a model folder, a .gguf file or looks like a hub id (owner/name).

    What `make model` or another run writes may come later: runs.preflight looks for it.
    """
    path = Path(reference)
    if path.is_dir():
        return True
    if is_gguf(path):
        return path.is_file()
    return is_hub_id(reference) or bool(how_to_get(path))


def parents_of(graph: Graph, spec: StepSpec) -> tuple[list[str], list[str]]:
    """Names of the steps that `spec` reads (in order, once each), and the problems found."""
    problems: list[str] = []
    parents: list[str] = []

    def need(key: str, reference: str, stages: tuple[str, ...] = ()) -> None:
        problem = _problem(graph, spec, key, reference, stages)
        if problem:
            problems.append(problem)
        elif reference in graph.steps:
            parents.append(reference)

    needs_init = isinstance(spec.config, TrainConfig) and not isinstance(
        spec.config, PretrainConfig
    )
    if needs_init and not spec.config.init:
        problems.append(f"{spec.name}.init: must be set: a step, {OUTSIDE_MODELS}")
    for key, reference in model_references(spec.config):
        if key != "tokenizer":
            need(key, reference, _accepted(spec, key))
    tokenizer = tokenizer_reference(graph, spec)
    if tokenizer:
        need("tokenizer", tokenizer, ("tokenizer", *MODEL_STAGES))
    elif isinstance(spec.config, PretrainConfig) and not spec.config.init:
        problems.append(_no_tokenizer(graph, spec))
    for key, source in sources_in(spec.config):
        chosen = [k for k in ("step", "path", "hub") if getattr(source, k)]
        if len(chosen) != 1:
            found = " and ".join(chosen) or "none"
            problems.append(f"{spec.name}.{key}: set one of step, path, hub (found {found})")
        elif source.step:
            need(f"{key}.step", source.step)
    if spec.stage == "report":  # it tells of everything: it runs after all others
        parents += [n for n, s in graph.steps.items() if s.stage != "report"]
    return list(dict.fromkeys(parents)), problems


def tokenizer_reference(graph: Graph, spec: StepSpec) -> str | None:
    """What gives a training step its tokenizer where `init` does not."""
    if not isinstance(spec.config, TrainConfig):
        return None
    if spec.config.tokenizer:
        return spec.config.tokenizer
    fresh = isinstance(spec.config, PretrainConfig) and not spec.config.init
    return graph.default_tokenizer if fresh else None


def _accepted(spec: StepSpec, key: str) -> tuple[str, ...]:
    """The stages whose model the key can take."""
    if key == "reward":
        return REWARD_STAGES
    return MODEL_STAGES if spec.stage == "reward" else LANGUAGE_STAGES


def _no_tokenizer(graph: Graph, spec: StepSpec) -> str:
    there = [name for name, step in graph.steps.items() if step.stage == "tokenizer"]
    choice = f"one of {', '.join(there)}" if there else "a tokenizer's folder or hub id"
    return (
        f"{spec.name}.tokenizer: must be set where no step is called 'tokenizer': {choice}, or add "
        "the step `tokenizer: {}`"
    )


def _problem(
    graph: Graph, spec: StepSpec, key: str, reference: str, stages: tuple[str, ...]
) -> str | None:
    """What is wrong with a reference to a step of one of `stages` (none: of any stage)."""
    where = f"{spec.name}.{key}"
    if reference == spec.name:
        return f"{where}: a step cannot read itself"
    if reference in graph.broken:
        return None
    target = graph.steps.get(reference)
    if target is not None:
        if not stages or target.stage in stages:
            return None
        what = {"tokenizer": "tokenizer", "reward": "reward model"}.get(key, "language model")
        what = "model" if spec.stage == "reward" and key == "init" else what
        makes = [name for name, step in graph.steps.items() if step.stage in stages]
        others = ", ".join(name for name in makes if name != spec.name) or "none in this recipe"
        return f"{where}: step '{reference}' ({target.stage}) makes no {what}; those do: {others}"
    if stages and is_outside_model(reference):
        return None
    kind = f"step, {OUTSIDE_MODELS}" if stages else "step"
    hint = did_you_mean(reference, graph.steps)
    return f"{where}: '{reference}' is no {kind}.{hint} Steps: {', '.join(graph.steps)}"


def order_steps(steps: dict[str, StepSpec]) -> tuple[list[str], list[str]]:
    """Parents first, file order otherwise; a cycle is a problem that names its steps."""
    order: list[str] = []
    left = list(steps)
    while left:
        ready = next((n for n in left if all(p in order for p in steps[n].parents)), None)
        if ready is None:
            return order + left, [f"{left[0]}: steps depend on each other: {_cycle(steps, left)}"]
        order.append(ready)
        left.remove(ready)
    return order, []


def _cycle(steps: dict[str, StepSpec], left: list[str]) -> str:
    path = [left[0]]
    while True:
        following = next((p for p in steps[path[-1]].parents if p in left), None)
        if following is None:  # cannot happen for an unfinished order, but never loop on a mistake
            return " -> ".join(path)
        if following in path:
            return " -> ".join([*path[path.index(following) :], following])
        path.append(following)


def ancestors(steps: dict[str, StepSpec], name: str) -> list[str]:
    """Every step that `name` needs, directly or not, in running order."""
    needed, todo = set(), list(steps[name].parents)
    while todo:
        parent = todo.pop()
        if parent not in needed:
            needed.add(parent)
            todo += steps[parent].parents
    return [n for n in steps if n in needed]

"""Dependencies between steps: resolve references, find cycles, put the steps in running order.

References are found from the config's fields alone: those declared with `model_ref`, and the `step`
of every SourceConfig. A source refers to a step of the recipe; a model reference to a step, a model
folder, a .gguf file or a hub id ("owner/name").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfllm.recipe.config import SourceConfig, TrainConfig
from hfllm.recipe.did_you_mean import did_you_mean
from hfllm.recipe.model_names import how_to_get, is_gguf, is_hub_id
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import LANGUAGE_MODEL, MODELS, REWARD_MODEL, TOKENIZER, ModelRef

OUTSIDE_MODELS = "model folder, .gguf file or hub id (owner/name)"
# what a key needs, as error messages name it
KIND_NAMES = {(LANGUAGE_MODEL,): "language model", (REWARD_MODEL,): "reward model", MODELS: "model"}


@dataclass
class Graph:
    """The valid steps by name, and the names of the invalid ones."""

    steps: dict[str, StepSpec]
    broken: set[str]  # reported already, so that references to them are not reported again

    def has(self, name: str | None) -> bool:
        """Whether the recipe has a step of that name, valid or not."""
        return name in self.steps or name in self.broken


def sources_in(config: Any) -> Iterator[tuple[str, SourceConfig]]:
    """Every SourceConfig in a stage's config, at any depth, as (dotted key, source)."""
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


def model_references(config: Any) -> Iterator[tuple[str, str, ModelRef]]:
    """Every model or tokenizer that a stage's config names, as (key, reference, role)."""
    for item in dataclasses.fields(config):
        role, value = item.metadata.get("model_ref"), getattr(config, item.name)
        if role is None or not value:
            continue
        if isinstance(value, str):
            yield item.name, value, role
        else:
            yield from ((f"{item.name}[{i}]", one, role) for i, one in enumerate(value))


def file_references(config: Any) -> Iterator[tuple[str, str]]:
    """Every file that a `file_ref` field of a stage's config names, as (key, path)."""
    for item in dataclasses.fields(config):
        keywords, value = item.metadata.get("file_ref"), getattr(config, item.name)
        if keywords is not None and value is not None and value not in keywords:
            yield item.name, str(value)


def imply_nulls(graph: Graph, spec: StepSpec) -> None:
    """Set defaults that name no step to null where another key stands in their place."""
    for item in dataclasses.fields(spec.config):
        role, name = item.metadata.get("model_ref"), getattr(spec.config, item.name)
        if role is None or role.instead is None or item.name in spec.given or graph.has(name):
            continue
        if getattr(spec.config, role.instead):
            setattr(spec.config, item.name, None)
            spec.implied[item.name] = f"{role.instead} is set, and no step is called '{name}'"


def is_outside_model(reference: str) -> bool:
    """Whether a reference is a model folder, a .gguf file or has the form of a hub id (owner/name).

    A folder that `make model` or another recipe writes may be missing as yet: it counts as a model
    here, and runs.preflight checks before a run that it exists.
    """
    path = Path(reference)
    if path.is_dir():
        return True
    if is_gguf(path):
        return path.is_file()
    return is_hub_id(reference) or bool(how_to_get(path))


def parents_of(graph: Graph, spec: StepSpec) -> tuple[list[str], list[str]]:
    """The steps that `spec` reads (in order, once each), and the problems found, one line each."""
    problems: list[str] = []
    parents: list[str] = []

    def need(key: str, reference: str, makes: tuple[str, ...] = ()) -> None:
        problem = _problem(graph, spec, key, reference, makes)
        if problem:
            problems.append(problem)
        elif reference in graph.steps:
            parents.append(reference)

    for item in dataclasses.fields(spec.config):
        role = item.metadata.get("model_ref")
        if role and role.required and not getattr(spec.config, item.name):
            where = f"{spec.name}.{item.name}"
            problems.append(f"{where}: must be set: a step, {OUTSIDE_MODELS}")
    for key, reference, role in model_references(spec.config):
        need(key, reference, role.makes)
    for key, role in _unset_with_default_step(spec):
        if graph.has(role.default_step):
            need(key, str(role.default_step), role.makes)
        else:
            problems.append(_no_default_step(graph, spec, key, role))
    for key, source in sources_in(spec.config):
        chosen = [k for k in ("step", "path", "hub") if getattr(source, k)]
        if len(chosen) != 1:
            found = " and ".join(chosen) or "none"
            problems.append(f"{spec.name}.{key}: set one of step, path, hub (found {found})")
        elif source.step:
            need(f"{key}.step", source.step)
    if spec.stage.reads_everything:
        parents += [n for n, s in graph.steps.items() if not s.stage.reads_everything]
    return list(dict.fromkeys(parents)), problems


def _unset_with_default_step(spec: StepSpec) -> list[tuple[str, ModelRef]]:
    """Unset keys that a default step fills: the tokenizer of a model trained from scratch."""
    config = spec.config
    if not isinstance(config, TrainConfig) or config.init or _requires_init(config):
        return []
    roles = [(item.name, item.metadata.get("model_ref")) for item in dataclasses.fields(config)]
    return [(k, r) for k, r in roles if r and r.default_step and not getattr(config, k)]


def _requires_init(config: Any) -> bool:
    """Whether `init` must be set; if so, `parents_of` reports that it is missing."""
    fields = {item.name: item for item in dataclasses.fields(config)}
    return fields["init"].metadata["model_ref"].required


def _no_default_step(graph: Graph, spec: StepSpec, key: str, role: ModelRef) -> str:
    usable = [name for name, step in graph.steps.items() if step.stage.makes == TOKENIZER]
    choice = f"one of {', '.join(usable)}" if usable else f"a {key}'s folder or hub id"
    step = role.default_step
    return (
        f"{spec.name}.{key}: must be set where no step is called '{step}': {choice}, or add "
        f"the step `{step}: {{}}`"
    )


def _problem(
    graph: Graph, spec: StepSpec, key: str, reference: str, makes: tuple[str, ...]
) -> str | None:
    """The problem of one reference, or None. `makes`: kinds that are accepted; empty: all."""
    where = f"{spec.name}.{key}"
    if reference == spec.name:
        return f"{where}: a step cannot read itself"
    if reference in graph.broken:
        return None
    target = graph.steps.get(reference)
    if target is not None:
        if not makes or target.stage.makes in makes:
            return None
        what = KIND_NAMES.get(makes, TOKENIZER)
        usable = [name for name, step in graph.steps.items() if step.stage.makes in makes]
        others = ", ".join(name for name in usable if name != spec.name) or "none in this recipe"
        stage = target.stage.name
        return f"{where}: step '{reference}' ({stage}) makes no {what}; those do: {others}"
    if makes and is_outside_model(reference):
        return None
    kind = f"step, {OUTSIDE_MODELS}" if makes else "step"
    hint = did_you_mean(reference, graph.steps)
    return f"{where}: '{reference}' is no {kind}.{hint} Steps: {', '.join(graph.steps)}"


def order_steps(steps: dict[str, StepSpec]) -> tuple[list[str], list[str]]:
    """The names in running order (parents first, else as in the file), and a line on a cycle."""
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
        if following is None:  # cannot happen while steps are left; guards against an endless loop
            return " -> ".join(path)
        if following in path:
            return " -> ".join([*path[path.index(following) :], following])
        path.append(following)


def ancestors(steps: dict[str, StepSpec], name: str) -> list[str]:
    """Every step that `name` depends on, directly or not, in running order."""
    needed, todo = set(), list(steps[name].parents)
    while todo:
        parent = todo.pop()
        if parent not in needed:
            needed.add(parent)
            todo += steps[parent].parents
    return [n for n in steps if n in needed]


def first_ancestor(recipe: Recipe, spec: StepSpec) -> StepSpec:
    """The step whose model is the first of the chain of `init:` that `spec` is the last of."""
    while getattr(spec.config, "init", None) in recipe.steps:
        spec = recipe.steps[spec.config.init]
    return spec

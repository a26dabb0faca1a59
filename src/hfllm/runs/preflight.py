"""Check a recipe's steps before any of them runs: models, files, values, disk, `trainer:` sections.

Order, cheapest first: checks without heavy imports, for all steps; then, if they found nothing, the
checks that import torch and the libraries (about 3 s); then, before `hfllm run`, what each stage
finds in the first rows of its sources. All problems of one kind are listed at once.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hfllm.recipe import hub_cache
from hfllm.recipe.config import ChatDataConfig, TextDataConfig, TrainConfig
from hfllm.recipe.errors import RecipeError, first_line
from hfllm.recipe.graph import first_ancestor, model_references, sources_in
from hfllm.recipe.hub import hub_problem
from hfllm.recipe.load import launch_words
from hfllm.recipe.model_names import how_to_get, is_gguf, names_hub
from hfllm.recipe.recipe import Recipe, StepSpec
from hfllm.recipe.stage import TOKENIZER
from hfllm.runs import value_checks
from hfllm.runs.disk_checks import disk_problems
from hfllm.runs.launch_checks import launch_file_problems, launch_problems
from hfllm.runs.layout import Step

PACKED = (TextDataConfig, ChatDataConfig)  # sections whose sources are packed, a folder each


def preflight(
    recipe: Recipe, names: list[str], with_trainers: bool = True, with_rows: bool = False
) -> None:
    """Check the named steps.

    Args:
        recipe: a recipe that `load_recipe` accepted.
        names: the steps that will run.
        with_trainers: include the checks that import torch and the libraries.
        with_rows: include what each stage finds in the first rows of its sources, if there is no
            other problem.

    Raises:
        RecipeError: with all problems, one line each.
    """
    problems = recipe_problems(recipe, names) + disk_problems(recipe)
    if not problems:
        problems += [line for name in names for line in _hub_problems(recipe, recipe.steps[name])]
    if not problems and with_trainers:
        problems += _library_problems(recipe, names)
    if not problems and with_rows:
        problems += [line for name in names for line in _first_row_problems(recipe, name)]
    if problems:
        raise RecipeError(recipe.path, problems)


def recipe_problems(recipe: Recipe, names: list[str]) -> list[str]:
    """The problems of these steps that any machine would find, without heavy imports."""
    problems: list[str] = []
    for name in names:
        spec = recipe.steps[name]
        problems += _missing_models(recipe, spec) + _adapter_problems(recipe, spec)
        problems += _source_problems(recipe, spec)
        problems += _label_problems(spec) + value_checks.problems(recipe, spec)
    return problems + launch_file_problems(recipe)


def _first_row_problems(recipe: Recipe, name: str) -> list[str]:
    spec = recipe.steps[name]
    return [spec.line(line) for line in spec.stage.first_rows(Step(recipe, spec))]


def unread_rows(recipe: Recipe, names: list[str]) -> str | None:
    """One line on the sources whose rows cannot be looked at before the run, or None."""
    from hfllm.data.reading.first_rows import unread

    found = Counter(why for n in names for why in unread(Step(recipe, recipe.steps[n])))
    if not found:
        return None
    each = ", ".join(f"{why} ({count})" if count > 1 else why for why, count in found.items())
    return f"rows not looked at, of {found.total()} source(s): {each}"


def _library_problems(recipe: Recipe, names: list[str]) -> list[str]:
    """Check GGUF files, and `trainer:` and `model:` sections against the libraries."""
    problems = [problem for n in names for problem in _gguf_problems(recipe.steps[n])]
    training = [n for n in names if isinstance(recipe.steps[n].config, TrainConfig)]
    if not training:
        return problems
    from hfllm.recipe.trainers import check_trainers

    problems += launch_problems(launch_words(recipe.launch))
    try:
        check_trainers(recipe, training)
    except RecipeError as error:
        problems += error.problems
    for name in training:
        problem = _model_problem(recipe, recipe.steps[name])
        problems += [recipe.steps[name].line(problem)] if problem else []
    return problems


def _missing_models(recipe: Recipe, spec: StepSpec) -> list[str]:
    """Missing model folders that `make model` or another recipe writes."""
    return [
        f"{spec.name}.{key}: no folder {reference}{how_to_get(reference)}"
        for key, reference, _ in model_references(spec.config)
        if reference not in recipe.steps and how_to_get(reference) and not Path(reference).exists()
    ]


def _adapter_problems(recipe: Recipe, spec: StepSpec) -> list[str]:
    """Folders of adapters where training needs a whole model; a LoRA step writes both."""
    folders = [
        (key, Path(reference))
        for key, reference, _ in model_references(spec.config)
        if spec.stage.trains and reference not in recipe.steps
    ]
    return [
        f"{spec.name}.{key}: {folder} is an adapter of peft, no whole model: name the merged model "
        f"(of a LoRA step {folder.parent / 'model'}), or merge it with peft first"
        for key, folder in folders
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    ]


def _hub_problems(recipe: Recipe, spec: StepSpec) -> list[str]:
    """Hub ids of models and data that are neither whole in the cache nor to be reached."""
    ids = [
        (key, reference, hub_cache.TOKENIZER if TOKENIZER in role.makes else hub_cache.MODEL)
        for key, reference, role in model_references(spec.config)
        if reference not in recipe.steps and names_hub(reference)
    ]
    ids += [
        (f"{key}.hub", source.hub, hub_cache.DATA)
        for key, source in sources_in(spec.config)
        if source.hub and not Path(source.hub).exists()
    ]
    found = [(key, hub_problem(name, kind)) for key, name, kind in ids]
    return [f"{spec.name}.{key}: {problem}" for key, problem in found if problem]


def _gguf_problems(spec: StepSpec) -> list[str]:
    """GGUF files, named by any model key, whose header cannot be read."""
    files = [
        (k, r) for k, r, _ in model_references(spec.config) if is_gguf(r) and Path(r).is_file()
    ]
    problems = []
    for key, file in files:
        from hfllm.modeling.gguf_header import read_header  # torch, which most steps do not need

        try:
            read_header(file)
        except ValueError as error:
            problems.append(f"{spec.name}.{key}: {error}")
    return problems


def _model_problem(recipe: Recipe, spec: StepSpec) -> str | None:
    """The problem of the step's model config, or of seq_len beyond the model's positions."""
    from hfllm.modeling.build import check_build, check_positions
    from hfllm.modeling.start_config import start_config

    root = first_ancestor(recipe, spec)
    seq_len = getattr(getattr(spec.config, "data", None), "seq_len", None)
    try:
        config = start_config(recipe, spec)
        if config is not None and root is spec and not root.config.init:
            check_build(config, root.config.model)
    except ValueError as error:
        return first_line(error) if root is spec else None  # else reported for the root
    try:
        if config is not None and seq_len is not None:
            check_positions(
                config, seq_len, f"step '{root.name}'" if root is not spec else "`init`"
            )
    except ValueError as error:
        return str(error)
    return None


def _source_problems(recipe: Recipe, spec: StepSpec) -> list[str]:
    from hfllm.data.reading.source_checks import check_sources

    step = Step(recipe, spec)
    data = getattr(spec.config, "data", None)
    empty = not getattr(data, "mixture", True) or data == []
    problems = [f"{spec.name}.data: names no source; add one to its list"] if empty else []
    for key, source in sources_in(spec.config):
        if not source.step:  # the files of another step may not exist yet
            problems += [f"{spec.name}.{key}: {p}" for p in check_sources([source], step.data_of)]
    return problems


def _label_problems(spec: StepSpec) -> list[str]:
    from hfllm.data.packing.folders import folder_problems
    from hfllm.data.reading.examples import label

    data: Any = getattr(spec.config, "data", None)
    problems = []
    for split, extra in (("mixture", "replay"), ("heldout", "")):
        sources = [*(getattr(data, split, None) or []), *(getattr(data, extra, None) or [])]
        found = folder_problems(map(label, sources), isinstance(data, PACKED))
        problems += [f"{spec.name}.data.{split}: {problem}" for problem in found]
    return problems

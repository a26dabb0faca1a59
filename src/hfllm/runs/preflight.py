"""Checks before anything starts: files, disk, keys of the `trainer:` sections, lengths.

Cheapest first, none waits for training to start, and every problem is listed at once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hfllm.recipe.graph import sources_in
from hfllm.recipe.load import Recipe, RecipeError, StepSpec
from hfllm.recipe.schema import TrainConfig
from hfllm.runs.layout import Step

MIN_FREE_GB = 1.0


def preflight(recipe: Recipe, names: list[str], with_trainers: bool = True) -> None:
    """Check the named steps; raises RecipeError with all problems."""
    problems: list[str] = []
    for name in names:
        spec = recipe.steps[name]
        problems += _sources(recipe, spec) + _lengths(spec)
    problems += _disk(recipe)
    if problems:
        raise RecipeError(recipe.path, problems)
    if with_trainers:
        from hfllm.recipe.trainers import check_trainers

        check_trainers(recipe, names)


def _sources(recipe: Recipe, spec: StepSpec) -> list[str]:
    from hfllm.data.sources import check_sources, label

    step = Step(recipe, spec)
    problems = []
    for key, source in sources_in(spec.config):
        if not source.step:  # a step's files are made on the way
            problems += [f"{spec.name}.{key}: {p}" for p in check_sources([source], step.data_of)]
    data = getattr(spec.config, "data", None)
    for split in ("mixture", "heldout"):
        names = [label(s) for s in getattr(data, split, None) or []]
        for name in sorted({n for n in names if names.count(n) > 1}):
            problems.append(
                f"{spec.name}.data.{split}: two sources are called '{name}'; give them a `name:`"
            )
    return problems


def _lengths(spec: StepSpec) -> list[str]:
    """seq_len against the model's positions, where the recipe states both."""
    data = getattr(spec.config, "data", None)
    seq_len = getattr(data, "seq_len", None)
    if seq_len is None:
        return []
    if seq_len < 8:
        return [f"{spec.name}.data.seq_len: {seq_len} is too short; use 8 or more"]
    positions = getattr(spec.config, "model", {}).get("max_position_embeddings")
    if isinstance(spec.config, TrainConfig) and positions and seq_len > positions:
        return [
            f"{spec.name}.data.seq_len: {seq_len} is beyond the model's "
            f"max_position_embeddings {positions}; lower one or raise the other"
        ]
    return []


def _disk(recipe: Recipe) -> list[str]:
    place = recipe.run_dir
    while not place.exists():
        place = place.parent
    if not _writable(place):
        return [f"run_dir: {place} cannot be written; set run_dir=OTHER"]
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < MIN_FREE_GB:
        return [
            f"run_dir: {free_gb:.2f} GB free on the disk of {place}, at least {MIN_FREE_GB:.0f} GB "
            "is needed; free some, or set run_dir=OTHER"
        ]
    return []


def _writable(place: Path) -> bool:
    import os

    return place.is_dir() and os.access(place, os.W_OK)
